// The structs that Python passes to the CUDA kernels. cuda_structs.py declares the same structs.
#pragma once
#include "conventions.h"

typedef unsigned int uint32;
typedef long long int64;

// A tensor: its address, and element strides over Gaussians (n), coefficients (k) and components (c).
struct Strided { float* data; int64 stride_n, stride_k, stride_c; };


enum {
  TILE = 8,              // pixels; a warp processes a tile, two pixels per lane
  TILE_PIXELS = TILE * TILE,
  DIGITS = 256,          // of a radix pass
  MAX_PASSES = 4,
  SORT_THREADS = 256, SORT_ITEMS = 8, SORT_BLOCK = SORT_THREADS * SORT_ITEMS,
  GAUSSIAN_THREADS = 256,
  TILE_WARPS = 4,        // warps of a block of the compositing kernels
  SPLAT_FLOATS = 12,
  STATE_FLOATS = 5 * TILE_PIXELS,
  CAMERA_SUMS = 19,
};

// The values that may change between iterations without a change of the launches, so that a CUDA graph can be replayed.
struct View {
  float rotation[9], translation[3];  // camera_from_world
  float fx, fy, cx, cy;
  float background[3], center[3];
  // of means, rotations, scales, opacities, and spherical harmonics coefficients of degree 0 and above
  float learning_rates[6];
};

// A projected Gaussian. log2(alpha) = log2_opacity + A dx^2 + B dx dy + C dy^2; pixel centers are at integers; depth is z or
// 1 / z, as it is composited.
struct __align__(16) Splat { float x, y, A, B, C, log2_opacity, r, g, b, depth, half_width, half_height; };

struct Counters {
  uint32 visible, pairs, buckets;  // pairs: all (splat, tile) pairs, including those beyond the capacity
  uint32 project_ticket, emit_ticket, sort_tickets[2 * MAX_PASSES], unused[3];
};

// A section of a tile's list that one warp of the backward pass processes; `start`: its first pair.
struct Bucket { uint32 tile, start; };

struct Frame {
  const View* view;
  Strided means, rotations, scales, opacities, sh, colors, covariances, screen_means;
  int count, width, height, sh_degree, flags, tiles_x, tiles_y, tile_passes;
  uint32 pair_capacity, bucket_entries;  // bucket_entries: a multiple of 32
  float near_plane, scale_modifier;
  float *image, *alpha, *depth;
  int* radii;
  // workspace; counters, histograms and statuses lie in one allocation that is zeroed before each frame
  Splat* splats;
  uint32 *depth_keys, *depth_ids, *tile_keys, *tile_ids;  // tile_*: sorted, when a compositing kernel is launched
  Counters* counters;
  uint32 *depth_histogram, *tile_histogram, *project_status, *emit_status;
  float* states;    // (buckets, 5, 64): r, g, b, depth and transmittance in front of the bucket
  Bucket* buckets;
  // backward pass
  const float *d_image, *d_alpha, *d_depth;
  float* splat_gradients;  // (N, 12), zeroed
  Strided d_means, d_rotations, d_scales, d_opacities, d_sh, d_colors, d_covariances, d_screen_means;
  float* camera_partials;  // (blocks, CAMERA_SUMS)
  uint32* camera_arrivals; // counts finished blocks; 0 before and after the kernel
  float* camera;           // 12 of camera_from_world row by row, fx, fy, cx, cy
  // with Adam the d_ tensors above are the parameters, which are updated in place
  Strided exp_avg[5], exp_avg_sq[5];
  uint32 *steps, *step_arrivals;  // steps taken so far; finished blocks, 0 before and after the kernel
  float one_minus_beta1, one_minus_beta2, epsilon;
  float opacity_regularization, scale_regularization;  // loss weights of the sum of opacities and the sum of scales
};

struct SortPass {
  const uint32 *keys_in, *values_in;
  uint32 *keys_out, *values_out;
  const uint32* count;      // number of items; only the first `capacity` of them are stored and sorted
  const uint32* histogram;  // (DIGITS,) how often each value of this digit occurs
  uint32 *status, *ticket;  // (blocks, DIGITS) and a single number, zeroed
  uint32 capacity;
  int shift;
};
