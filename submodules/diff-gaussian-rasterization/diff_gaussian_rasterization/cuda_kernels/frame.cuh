// What crosses the boundary between Python and the kernels; cuda_structs.py holds the same structs.
#pragma once

typedef unsigned int uint32;
typedef long long int64;

// A tensor as a base pointer and element strides: over Gaussians, over coefficients, over components.
struct Strided { float* data; int64 stride_n, stride_k, stride_c; };

enum {
  FLAG_LOG_SCALES = 1,        // scales are log scales
  FLAG_OPACITY_LOGITS = 2,    // opacities are logits
  FLAG_ANTIALIASED = 4,       // opacity is compensated for the screen-space dilation
  FLAG_CENTER_FROM_POSE = 8,  // the view direction's camera centre is -R^T t and passes its gradient to the pose
  FLAG_CAMERA_GRADIENT = 16,
  FLAG_SAVE_STATES = 32,      // a backward pass will follow
  FLAG_INVERSE_DEPTH = 64,    // the depth that is composited is 1 / z
};

enum {
  TILE = 8,              // pixels; a tile is one warp's work, two pixels per lane
  TILE_PIXELS = TILE * TILE,
  DIGITS = 256,          // of a radix pass
  MAX_PASSES = 4,
  SORT_THREADS = 256, SORT_ITEMS = 8, SORT_BLOCK = SORT_THREADS * SORT_ITEMS,
  GAUSSIAN_THREADS = 256,
  TILE_WARPS = 4,        // warps of a block that composites
  SPLAT_FLOATS = 12,
  STATE_FLOATS = 5 * TILE_PIXELS,
  CAMERA_SUMS = 19,
};

// What may change from one iteration to the next without a new launch configuration (and so without a new graph).
struct View {
  float rotation[9], translation[3];  // camera_from_world
  float fx, fy, cx, cy;
  float background[3], center[3];
  float rates[6];  // of Adam: means, rotations, scales, opacities, constant harmonic, other harmonics
};

// A projected Gaussian. log2(alpha) = log2_opacity + A dx^2 + B dx dy + C dy^2; pixel centres at whole numbers; depth is
// z or 1 / z, as it is composited.
struct __align__(16) Splat { float x, y, A, B, C, log2_opacity, r, g, b, depth, half_width, half_height; };

struct Counters {
  uint32 visible, pairs, buckets;  // pairs: as many as there are, also those that did not fit
  uint32 project_ticket, emit_ticket, sort_tickets[2 * MAX_PASSES], unused[3];
};

struct Bucket { uint32 tile, start; };

struct Frame {
  const View* view;
  Strided means, rotations, scales, opacities, sh, colors, covariances, screen_means;
  int count, width, height, sh_degree, flags, tiles_x, tiles_y, tile_passes;
  uint32 pair_capacity, bucket_entries;  // bucket_entries: a multiple of 32
  float near_plane, scale_modifier;
  float *image, *alpha, *depth;
  int* radii;
  // workspace; counters up to the statuses lie in one piece that is zeroed before each frame
  Splat* splats;
  uint32 *depth_keys, *depth_ids, *tile_keys, *tile_ids;  // tile_*: sorted ones for the compositing kernels
  Counters* counters;
  uint32 *depth_histogram, *tile_histogram, *project_status, *emit_status;
  float* states;    // (buckets, 5, 64): r, g, b, depth and transmittance in front of the bucket
  Bucket* buckets;
  // backward
  const float *d_image, *d_alpha, *d_depth;
  float* splat_gradients;  // (N, 12), zeroed
  Strided d_means, d_rotations, d_scales, d_opacities, d_sh, d_colors, d_covariances, d_screen_means;
  float* camera_partials;  // (blocks, CAMERA_SUMS)
  uint32* camera_arrivals; // 0 before and after
  float* camera;           // 12 of camera_from_world row by row, fx, fy, cx, cy
  // with Adam: the d_ tensors above are the parameters
  Strided first[5], second[5];
  uint32 *steps, *step_arrivals;  // steps taken before; arrivals are 0 before and after
  float one_minus_beta1, one_minus_beta2, epsilon;
  float opacity_pull, scale_pull;  // weights in the loss of the sum of opacities and of the sum of scales
};

struct SortPass {
  const uint32 *keys_in, *values_in;
  uint32 *keys_out, *values_out;
  const uint32* count;      // how many there are, of which `capacity` at most are there
  const uint32* histogram;  // (DIGITS,) of this digit
  uint32 *status, *ticket;  // (blocks, DIGITS) and one number, zeroed
  uint32 capacity;
  int shift;
};
