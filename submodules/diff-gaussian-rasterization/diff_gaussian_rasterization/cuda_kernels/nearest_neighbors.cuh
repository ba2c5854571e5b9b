// Exact mean squared distance of each point to its three nearest neighbors. The points are sorted along a Morton curve, so
// that NEIGHBOR_BOX consecutive ones lie close together and have a small bounding box. A block processes the points of one
// box and searches only the boxes that may contain a nearer neighbor than those found so far.
#pragma once
#include "primitives.cuh"
#include "vectors.cuh"

enum { NEIGHBOR_BOX = 256, NEIGHBORS = 3 };

struct Neighbors {
  const float* points;  // (boxes * NEIGHBOR_BOX, 3), sorted; the last point is repeated as padding
  const float* boxes;   // (boxes, 6): low corner, high corner
  float* means;         // (count,)
  int count, box_count;
};

// The three least squared distances so far, in ascending order.
struct Nearest { float distances[NEIGHBORS]; };

__device__ __forceinline__ void insert_distance(Nearest& n, float distance) {
  if (!(distance < n.distances[2])) return;
  if (distance < n.distances[1]) {
    n.distances[2] = n.distances[1];
    if (distance < n.distances[0]) {
      n.distances[1] = n.distances[0];
      n.distances[0] = distance;
    } else {
      n.distances[1] = distance;
    }
  } else {
    n.distances[2] = distance;
  }
}

// Distance between two intervals; 0 if they overlap.
__device__ __forceinline__ float gap(float low, float high, float other_low, float other_high) {
  return fmaxf(fmaxf(other_low - high, low - other_high), 0.0f);
}

// Squared distance between two boxes. A point is a box without extent.
__device__ __forceinline__ float box_distance(const float* low, const float* high, const float* box) {
  const float x = gap(low[0], high[0], box[0], box[3]), y = gap(low[1], high[1], box[1], box[4]),
              z = gap(low[2], high[2], box[2], box[5]);
  return fmaf(x, x, fmaf(y, y, z * z));
}

__device__ __forceinline__ void search_box(const Neighbors& s, int box, int self, Vec3 point, Nearest& nearest,
                                           float (*box_points)[3]) {
  __syncthreads();
  for (int n = (int)threadIdx.x; n < NEIGHBOR_BOX * 3; n += NEIGHBOR_BOX)
    (&box_points[0][0])[n] = s.points[(int64)box * NEIGHBOR_BOX * 3 + n];
  __syncthreads();
  const float own[3] = {point.x, point.y, point.z};
  if (box_distance(own, own, s.boxes + 6 * (int64)box) >= nearest.distances[2]) return;
  const int first = box * NEIGHBOR_BOX, there = s.count - first < NEIGHBOR_BOX ? s.count - first : NEIGHBOR_BOX;
  for (int n = 0; n < there; n++) {
    const Vec3 d = {box_points[n][0] - point.x, box_points[n][1] - point.y, box_points[n][2] - point.z};
    if (first + n != self) insert_distance(nearest, dot(d, d));
  }
}

// The largest squared distance to the third neighbor among the points of the block.
__device__ __forceinline__ float reach(const Nearest& nearest, bool valid, float* scratch) {
  float largest = valid ? nearest.distances[2] : 0.0f;
  for (int step = 16; step > 0; step /= 2) largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, step));
  __syncthreads();
  if (lane_index() == 0) scratch[threadIdx.x >> 5] = largest;
  __syncthreads();
  for (int w = 0; w < NEIGHBOR_BOX / 32; w++) largest = fmaxf(largest, scratch[w]);
  return largest;
}

extern "C" __global__ void __launch_bounds__(NEIGHBOR_BOX) nearest_neighbors(const Neighbors s) {
  __shared__ float box_points[NEIGHBOR_BOX][3], scratch[NEIGHBOR_BOX / 32];
  __shared__ int candidates[NEIGHBOR_BOX];
  __shared__ uint32 candidate_count;
  const int home = (int)blockIdx.x, self = home * NEIGHBOR_BOX + (int)threadIdx.x;
  const bool valid = self < s.count;
  const float* at = s.points + 3 * (int64)self;
  const Vec3 point = {at[0], at[1], at[2]};
  const float* own = s.boxes + 6 * (int64)home;
  Nearest nearest = {{3e38f, 3e38f, 3e38f}};
  search_box(s, home, self, point, nearest, box_points);
  for (int start = 0; start < s.box_count; start += NEIGHBOR_BOX) {
    const float radius = reach(nearest, valid, scratch);
    if (threadIdx.x == 0) candidate_count = 0;
    __syncthreads();
    const int box = start + (int)threadIdx.x;
    if (box < s.box_count && box != home && box_distance(own, own + 3, s.boxes + 6 * (int64)box) < radius)
      candidates[atomicAdd(&candidate_count, 1u)] = box;
    __syncthreads();
    const uint32 many = candidate_count;
    for (uint32 c = 0; c < many; c++) search_box(s, candidates[c], self, point, nearest, box_points);
  }
  if (!valid) return;
  float sum = 0.0f;
  int found = 0;
  for (int k = 0; k < NEIGHBORS; k++)
    if (nearest.distances[k] < 3e38f) {
      sum += nearest.distances[k];
      found++;
    }
  s.means[self] = found ? sum / (float)found : 0.0f;
}
