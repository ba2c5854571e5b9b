// Front-to-back compositing and its backward pass. A warp processes a tile of 8x8 pixels, two pixels per lane.
#pragma once
#include "projection.cuh"

// Number of (splat, tile) pairs in the buffers.
__device__ __forceinline__ uint32 stored_pairs(const Frame& f) {
  const uint32 pairs = f.counters->pairs;
  return pairs < f.pair_capacity ? pairs : f.pair_capacity;
}

// Index of the first of the sorted tile keys that is not below `key`. The whole warp searches: 32 probes per step divide the
// interval into 33 parts.
__device__ __forceinline__ uint32 lower_bound(const uint32* keys, uint32 count, uint32 key) {
  uint32 low = 0, high = count;  // the answer lies in [low, high]
  while (low < high) {
    const uint32 step = (high - low) / 32 + 1, at = low + (lane_index() + 1) * step - 1;
    const uint32 below = __popc(__ballot_sync(ALL_LANES, at < high && keys[at] < key));
    const uint32 next = low + below * step;
    if (next + step - 1 < high) high = next + step - 1;
    low = next;
  }
  return low;
}

struct Tile {
  int x, y;             // the lane's first pixel; the second one is four rows below
  bool inside[2];
  int64 at[2];          // indices of both pixels in an image plane
};

__device__ __forceinline__ Tile make_tile(const Frame& f, int tile_x, int tile_y) {
  Tile t;
  t.x = tile_x * TILE + (int)(lane_index() % TILE);
  t.y = tile_y * TILE + (int)(lane_index() / TILE);
  for (int k = 0; k < 2; k++) {
    t.inside[k] = t.x < f.width && t.y + 4 * k < f.height;
    t.at[k] = (int64)(t.y + 4 * k) * f.width + t.x;
  }
  return t;
}

// log2(alpha). The forward and the backward pass share it, so that they make the same decisions.
__device__ __forceinline__ float log2_alpha(const Splat& s, float dx, float dy) {
  const float e = fmaf(s.C * dy, dy, s.log2_opacity);
  return fmaf(fmaf(s.A, dx, s.B * dy), dx, e);
}

// One entry of a tile's list; the lanes of a warp fetch 32 consecutive ones.
struct Entry { Splat splat; uint32 id; };
__device__ __forceinline__ Entry fetch_entry(const Frame& f, uint32 at, uint32 end) {
  Entry e;
  e.id = 0;
  if (at < end) {
    e.id = f.tile_ids[at];
    e.splat = f.splats[e.id];
  }
  return e;
}

extern "C" __global__ void __launch_bounds__(32 * TILE_WARPS) composite(const Frame f) {
  __shared__ Splat staged[TILE_WARPS][32];
  const uint32 warp = threadIdx.x >> 5, lane = lane_index();
  // a block processes four neighboring tiles, which share its cache
  const int across = (f.tiles_x + 1) / 2;
  const int tile_x = 2 * ((int)blockIdx.x % across) + (int)(warp & 1), tile_y = 2 * ((int)blockIdx.x / across) + (int)(warp >> 1);
  if (tile_x >= f.tiles_x || tile_y >= f.tiles_y) return;
  const uint32 tile = (uint32)(tile_y * f.tiles_x + tile_x), pairs = stored_pairs(f);
  const uint32 begin = lower_bound(f.tile_keys, pairs, tile);
  const uint32 end = begin + lower_bound(f.tile_keys + begin, pairs - begin, tile + 1);
  const Tile pixels = make_tile(f, tile_x, tile_y);
  float r[2] = {0, 0}, g[2] = {0, 0}, b[2] = {0, 0}, depth[2] = {0, 0};
  // a finished pixel keeps its transmittance with a negative sign, which fails the test from then on
  float T[2] = {pixels.inside[0] ? 1.0f : -1.0f, pixels.inside[1] ? 1.0f : -1.0f};
  Entry next = fetch_entry(f, begin + lane, end);
  for (uint32 start = begin; start < end; start += 32) {
    if ((f.flags & FLAG_SAVE_STATES) && start != begin && (start - begin) % f.bucket_entries == 0) {
      uint32 slot = 0;
      if (lane == 0) {
        slot = atomicAdd(&f.counters->buckets, 1u);
        f.buckets[slot] = {tile, start};
      }
      slot = __shfl_sync(ALL_LANES, slot, 0);
      float* state = f.states + (int64)slot * STATE_FLOATS + lane;
      for (int k = 0; k < 2; k++) {
        state[32 * k] = r[k];
        state[32 * k + TILE_PIXELS] = g[k];
        state[32 * k + 2 * TILE_PIXELS] = b[k];
        state[32 * k + 3 * TILE_PIXELS] = depth[k];
        state[32 * k + 4 * TILE_PIXELS] = T[k];
      }
    }
    staged[warp][lane] = next.splat;
    __syncwarp();
    next = fetch_entry(f, start + 32 + lane, end);  // prefetched while the current entries are composited
    const uint32 here = end - start < 32 ? end - start : 32;
    for (uint32 j = 0; j < here; j++) {
      const Splat s = staged[warp][j];
      const float dx = (float)pixels.x - s.x;
#pragma unroll
      for (int k = 0; k < 2; k++) {
        const float dy = (float)(pixels.y + 4 * k) - s.y;
        const float e = log2_alpha(s, dx, dy);
        if (e >= LOG2_ALPHA_CUT) {
          const float alpha = fminf(fast_exp2(e), ALPHA_MAX), after = fmaf(-T[k], alpha, T[k]);
          if (after >= TRANSMITTANCE_STOP) {
            const float w = alpha * T[k];
            r[k] = fmaf(w, s.r, r[k]);
            g[k] = fmaf(w, s.g, g[k]);
            b[k] = fmaf(w, s.b, b[k]);
            depth[k] = fmaf(w, s.depth, depth[k]);
            T[k] = after;
          } else {
            T[k] = -fabsf(T[k]);
          }
        }
      }
    }
    __syncwarp();  // all lanes have read the staged splats before they are overwritten
    if (!__any_sync(ALL_LANES, T[0] > 0.0f || T[1] > 0.0f)) break;
  }
  const int64 plane = (int64)f.width * f.height;
  for (int k = 0; k < 2; k++)
    if (pixels.inside[k]) {
      const int64 at = pixels.at[k];
      const float left = fabsf(T[k]);
      f.image[at] = fmaf(left, f.view->background[0], r[k]);
      f.image[plane + at] = fmaf(left, f.view->background[1], g[k]);
      f.image[2 * plane + at] = fmaf(left, f.view->background[2], b[k]);
      f.alpha[at] = 1.0f - left;
      f.depth[at] = depth[k];
    }
}

enum { SUMS = 10 };

// Sums of ten values over the warp in twelve shuffles: in each step a lane gives half of its remaining values to its partner.
// Returns in each lane the sum of value number `summed_component()`.
__device__ __forceinline__ float warp_sums(const float* v) {
  const uint32 lane = lane_index();
  float a[5], b[3];
  const bool upper16 = lane & 16, upper8 = lane & 8, upper4 = lane & 4, upper2 = lane & 2;
#pragma unroll
  for (int k = 0; k < 5; k++)
    a[k] = (upper16 ? v[5 + k] : v[k]) + __shfl_xor_sync(ALL_LANES, upper16 ? v[k] : v[5 + k], 16);
  b[0] = (upper8 ? a[3] : a[0]) + __shfl_xor_sync(ALL_LANES, upper8 ? a[0] : a[3], 8);
  b[1] = (upper8 ? a[4] : a[1]) + __shfl_xor_sync(ALL_LANES, upper8 ? a[1] : a[4], 8);
  b[2] = a[2] + __shfl_xor_sync(ALL_LANES, a[2], 8);
  const float c0 = (upper4 ? b[1] : b[0]) + __shfl_xor_sync(ALL_LANES, upper4 ? b[0] : b[1], 4);
  const float c1 = b[2] + __shfl_xor_sync(ALL_LANES, b[2], 4);
  const float d = (upper2 ? c1 : c0) + __shfl_xor_sync(ALL_LANES, upper2 ? c0 : c1, 2);
  return d + __shfl_xor_sync(ALL_LANES, d, 1);
}

// Which of the ten sums warp_sums returns in this lane; -1 if another lane has the same sum.
__device__ __forceinline__ int summed_component() {
  const uint32 lane = lane_index();
  const int half = lane & 16 ? 5 : 0;
  if (lane & 1) return -1;
  if (lane & 2) return lane & 12 ? -1 : half + 2;
  return half + (lane & 4 ? 1 : 0) + (lane & 8 ? 3 : 0);
}

// Each warp processes the entries of one bucket, front to back. Let v_i = color_i . dL/dcolor + depth_i dL/ddepth + dL/dalpha
// and w_i = alpha_i T_i. Then dL/dalpha_i = T_i v_i - R_i / (1 - alpha_i), where R_i is the sum of w_j v_j over the splats j
// behind i and the background. `remaining` is the current R: the sum over all, known from the outputs, minus the part of
// the splats processed so far.
template <bool WITH_DEPTH>
__device__ __forceinline__ void composite_backward_of(const Frame& f) {
  __shared__ Splat staged[TILE_WARPS][32];
  const uint32 warp = threadIdx.x >> 5, lane = lane_index();
  const uint32 tiles = (uint32)(f.tiles_x * f.tiles_y), work = tiles + f.counters->buckets, pairs = stored_pairs(f);
  const int64 plane = (int64)f.width * f.height;
  const int component = summed_component();
  for (uint32 item = blockIdx.x * TILE_WARPS + warp; item < work; item += gridDim.x * TILE_WARPS) {
    // the first bucket of each tile has no stored state
    const bool is_first = item < tiles;
    const uint32 tile = is_first ? item : f.buckets[item - tiles].tile;
    const uint32 begin = is_first ? lower_bound(f.tile_keys, pairs, tile) : f.buckets[item - tiles].start;
    const uint32 end_of_list = begin + lower_bound(f.tile_keys + begin, pairs - begin, tile + 1);
    const uint32 end = end_of_list - begin < f.bucket_entries ? end_of_list : begin + f.bucket_entries;
    if (begin == end) continue;
    const Tile pixels = make_tile(f, (int)tile % f.tiles_x, (int)tile / f.tiles_x);
    float d_r[2], d_g[2], d_b[2], d_depth[2], d_alpha[2], remaining[2], T[2];
    for (int k = 0; k < 2; k++) {
      d_r[k] = d_g[k] = d_b[k] = d_depth[k] = d_alpha[k] = remaining[k] = 0.0f;
      T[k] = -1.0f;
      if (!pixels.inside[k]) continue;
      const int64 at = pixels.at[k];
      float r = 0.0f, g = 0.0f, b = 0.0f, depth = 0.0f;
      T[k] = 1.0f;
      if (!is_first) {
        const float* state = f.states + (int64)(item - tiles) * STATE_FLOATS + lane + 32 * k;
        r = state[0];
        g = state[TILE_PIXELS];
        b = state[2 * TILE_PIXELS];
        depth = state[3 * TILE_PIXELS];
        T[k] = state[4 * TILE_PIXELS];
      }
      if (f.d_image) {
        d_r[k] = f.d_image[at];
        d_g[k] = f.d_image[plane + at];
        d_b[k] = f.d_image[2 * plane + at];
        remaining[k] = fmaf(d_r[k], f.image[at] - r, fmaf(d_g[k], f.image[plane + at] - g, d_b[k] * (f.image[2 * plane + at] - b)));
      }
      if (WITH_DEPTH && f.d_depth) {
        d_depth[k] = f.d_depth[at];
        remaining[k] = fmaf(d_depth[k], f.depth[at] - depth, remaining[k]);
      }
      if (WITH_DEPTH && f.d_alpha) {
        d_alpha[k] = f.d_alpha[at];
        remaining[k] = fmaf(d_alpha[k], f.alpha[at] - (1.0f - fabsf(T[k])), remaining[k]);
      }
    }
    Entry next = fetch_entry(f, begin + lane, end);
    for (uint32 start = begin; start < end; start += 32) {
      staged[warp][lane] = next.splat;
      const uint32 id_of_lane = next.id;
      __syncwarp();
      next = fetch_entry(f, start + 32 + lane, end);
      const uint32 here = end - start < 32 ? end - start : 32;
      for (uint32 j = 0; j < here; j++) {
        const Splat s = staged[warp][j];
        const uint32 id = __shfl_sync(ALL_LANES, id_of_lane, j);
        const float dx = (float)pixels.x - s.x;
        float sum[SUMS];
        bool any = false;
        for (int m = 0; m < SUMS; m++) sum[m] = 0.0f;
#pragma unroll
        for (int k = 0; k < 2; k++) {
          const float dy = (float)(pixels.y + 4 * k) - s.y;
          const float e = log2_alpha(s, dx, dy);
          if (e >= LOG2_ALPHA_CUT) {
            const float raw = fast_exp2(e), alpha = fminf(raw, ALPHA_MAX), after = fmaf(-T[k], alpha, T[k]);
            if (after >= TRANSMITTANCE_STOP) {
              any = true;
              const float w = alpha * T[k];
              float value = fmaf(s.r, d_r[k], fmaf(s.g, d_g[k], s.b * d_b[k]));
              if (WITH_DEPTH) {
                value += fmaf(s.depth, d_depth[k], d_alpha[k]);
                sum[9] = fmaf(w, d_depth[k], sum[9]);
              }
              remaining[k] = fmaf(-w, value, remaining[k]);
              const float d_alpha_raw = fmaf(-remaining[k], fast_reciprocal(1.0f - alpha), T[k] * value);
              const float h = raw <= ALPHA_MAX ? d_alpha_raw * alpha : 0.0f, hx = h * dx, hy = h * dy;
              sum[0] += h;
              sum[1] += hx;
              sum[2] += hy;
              sum[3] = fmaf(hx, dx, sum[3]);
              sum[4] = fmaf(hx, dy, sum[4]);
              sum[5] = fmaf(hy, dy, sum[5]);
              sum[6] = fmaf(w, d_r[k], sum[6]);
              sum[7] = fmaf(w, d_g[k], sum[7]);
              sum[8] = fmaf(w, d_b[k], sum[8]);
              T[k] = after;
            } else {
              T[k] = -fabsf(T[k]);
            }
          }
        }
        if (!__any_sync(ALL_LANES, any)) continue;
        const float total = warp_sums(sum);
        if (component >= 0) atomicAdd(&f.splat_gradients[(int64)id * SPLAT_FLOATS + component], total);
      }
      __syncwarp();
      if (!__any_sync(ALL_LANES, T[0] > 0.0f || T[1] > 0.0f)) break;
    }
  }
}

extern "C" __global__ void __launch_bounds__(32 * TILE_WARPS, 6) composite_backward(const Frame f) {
  composite_backward_of<false>(f);
}

extern "C" __global__ void __launch_bounds__(32 * TILE_WARPS, 6) composite_backward_with_depth(const Frame f) {
  composite_backward_of<true>(f);
}
