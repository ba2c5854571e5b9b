// The structs of the library's C interface, which Python fills in (cpu_structs.py), and the table of functions that
// kernels.cpp defines once for each instruction set.
#pragma once
#include <stdint.h>

#include "../diff_gaussian_rasterization/cuda_kernels/conventions.h"

// A tensor: its address, and element strides over the Gaussians of a group of 16 (stride_n), over coefficients (k), over
// components (c) and over groups. Vector loads are used where the Gaussians of a group are contiguous (stride_n == 1);
// any other strides work too. Two layouts have contiguous groups: contiguous over all Gaussians (stride_group == 16), and
// "grouped", where all numbers of 16 Gaussians lie together, so that reading every number is a single memory stream.
typedef struct { float* data; int64_t stride_n, stride_k, stride_c, stride_group; } Strided;
enum { GROUP = 16 };

// Gaussians converted once for rendering from many cameras. For each group of 16 Gaussians one number after the other,
// each for all 16: PREPARED_FLOATS floats, then the spherical harmonics coefficients above degree 0 in half precision, by
// coefficient and color channel. The axes are the columns of a matrix M with covariance M M^T.
enum { PREPARED_MEANS = 0, PREPARED_AXES = 3, PREPARED_LOG2_OPACITY = 12, PREPARED_COLOR = 13, PREPARED_FLOATS = 16 };
typedef struct { const char* data; int64_t group_bytes; } Prepared;

typedef struct {
  int64_t count;                      // Gaussians
  int32_t width, height, sh_degree, flags;
  float rotation[9], translation[3];  // camera_from_world
  float fx, fy, cx, cy, near_plane, scale_modifier;
  float center[3], background[3];     // camera center in the world; color behind all Gaussians
  Strided means, rotations, scales, opacities, sh, colors, covariances, screen_means;
  Prepared prepared;                  // if not null, replaces all tensors except `screen_means`; forward pass only
} Scene;

typedef struct { float *image, *alpha, *depth; int32_t* radii; } Outputs;

// Parameters of an Adam step in the backward pass, for means, rotations, scales, opacities and sh in this order.
typedef struct {
  Strided exp_avg[5], exp_avg_sq[5];
  float step_sizes[6];              // learning rate / (1 - beta1^step); the last for sh coefficients above degree 0
  float inv_root_bias_correction2;  // 1 / sqrt(1 - beta2^step)
  float beta1, beta2, epsilon;
  float opacity_regularization, scale_regularization;  // loss weights of the sum of opacities and the sum of scales
} FusedAdam;

typedef struct {
  const float *image, *alpha, *depth;  // in: gradients of the loss to the outputs; each may be null
  // out: gradients to the tensors of the scene; data may be null. With `adam`: the parameters, updated in place
  Strided means, rotations, scales, opacities, sh, colors, covariances, screen_means;
  const FusedAdam* adam;               // null: gradients are written and no step is taken
  double* camera;                      // out: 12 numbers of camera_from_world (3x4, row by row), then fx, fy, cx, cy
} Gradients;

typedef struct {
  const float* image;                      // (3, H, W)
  const float* target;                     // (3, H, W) with the element strides below; null: target_bytes is used
  const uint8_t* target_bytes;             // the same as bytes, 255 for 1.0
  int64_t target_channel, target_row, target_column, width, height;
  const float *l1_weight, *ssim_weight;    // (H, W); null: 1 everywhere
  float l1_factor, ssim_factor;
  float *gradient, *l1_map, *ssim_map;     // out: (3, H, W), (H, W), (H, W); null: not computed
} Loss;
enum { MOST_LOSS_ROWS = 96 };  // that one call of loss_rows takes

typedef struct {
  float* parameter;
  const float* gradient;
  float *exp_avg, *exp_avg_sq;
  const uint8_t* visible;  // (count,) or null; element i belongs to Gaussian i % count
  int64_t elements, count;
  float step_size, inv_root_bias_correction2, beta1, beta2, epsilon;  // as in FusedAdam
} AdamGroup;

// The image is divided into tiles of 32x16 pixels, and tiles into blocks of 4x4 pixels.
enum { BLOCK = 4, TILE_W = 32, TILE_H = 16, BLOCKS_X = TILE_W / BLOCK, BLOCKS_Y = TILE_H / BLOCK,
       BLOCKS = BLOCKS_X * BLOCKS_Y, CHUNK = 1024, CAMERA_SUMS = 19 };

// A projected Gaussian, one cache line. log2(alpha) = log2_opacity + A dx^2 + B dx dy + C dy^2.
typedef struct __attribute__((aligned(64))) {
  float x, y, A, B, C, log2_opacity, r, g, b, depth;  // depth: z or 1 / z, as it is composited
  float z, half_width, half_height, discriminant;     // discriminant = 4 A C - B^2, computed without cancellation
  int32_t pair_start, pair_count;                     // its (splat, tile) pairs in the list of its part
} Splat;

// One splat in the list of a tile: depth as the bits of a positive float, index of the splat, a bit for each 4x4 block of
// the tile that it touches, and index of the (splat, tile) pair.
typedef struct { uint32_t depth, splat, blocks, pair; } TileEntry;

// Gradient sums over the pixels of one tile for one splat. The slots of a Gaussian lie side by side, in the order of its
// pairs. With h = dL/dlog(alpha) at a pixel and (x, y) the pixel relative to the splat's center: the sums of h, h y, h y^2
// and so on, then the gradients to color and depth.
typedef struct __attribute__((aligned(64))) { float v[16]; } Slot;
enum { SUM_H = 0, SUM_HY = 4, SUM_HYY = 8, SUM_HX = 12, SUM_HXY = 1, SUM_HXX = 5, SUM_R = 9, SUM_G = 13, SUM_B = 2,
       SUM_Z = 6, SUM_FREE = 3 };  // v[3], v[7], v[11] and v[15] are unused and 0

// The (splat, tile) pairs of the Gaussians of one part, in the order of the Gaussians; one array for each number.
// `grow` makes room for `capacity` pairs and keeps the existing ones. `visible`: Gaussians with at least one pair.
typedef struct PairList {
  uint32_t *tile, *depth, *splat, *blocks;
  int64_t count, capacity, visible;
  void (*grow)(struct PairList*, int64_t capacity);
} PairList;

// What the forward pass of a tile saves for its backward pass. A visit is one splat composited over one 4x4 block.
// `alphas`: for each visit the alphas of the block's pixels, as they were used. `lists`: for each batch of splats the mask
// of the blocks that were composited (32 bits; 0 ends the sequence), and for each such block the number of visits of each
// of its vectors (in units of VISITS_TOGETHER, one byte each), then the positions in the batch of the splats visited by the
// vector with the most visits. Null: nothing is saved, and the backward pass computes the alphas again.
typedef struct { float* alphas; uint8_t* lists; } Saved;
enum { BATCH = 224, VISITS_TOGETHER = 4, MOST_VECTORS_OF_BLOCK = 4 };
// Upper bounds of floats in `alphas` and bytes in `lists` for a tile with `splats` splats and `visits` visits.
static inline int64_t alpha_floats_to_save(int64_t splats, int64_t visits) {
  const int64_t lists = (splats + BATCH - 1) / BATCH * BLOCKS;
  return BLOCK * BLOCK * (visits + lists * (VISITS_TOGETHER - 1));
}
static inline int64_t list_bytes_to_save(int64_t splats, int64_t visits) {
  const int64_t batches = (splats + BATCH - 1) / BATCH;
  return visits + batches * (4 + BLOCKS * (MOST_VECTORS_OF_BLOCK + VISITS_TOGETHER - 1)) + 4 + 16;
}

// The kernels for one instruction set.
typedef struct {
  const char* name;
  void (*project)(const Scene*, int64_t begin, int64_t end, Splat*, int32_t* radii, PairList*);
  int64_t (*count_visits)(const TileEntry*, int64_t count);
  void (*forward_tile)(const Scene*, int tile, const Splat*, const TileEntry*, int64_t count, const Outputs*,
                       Saved);
  void (*backward_tile)(const Scene*, int tile, const Splat*, const TileEntry*, int64_t count, const Outputs*,
                        const Gradients*, Saved, Slot* slots);
  void (*backward_gaussians)(const Scene*, int64_t begin, int64_t end, const Splat*, const Slot*,
                             const Gradients*, double* camera_sums);
  int64_t (*loss_scratch_floats)(int64_t width, int64_t rows);
  void (*loss_rows)(const Loss*, int64_t begin, int64_t end, float* scratch, double* row_sums);
  void (*adam)(const AdamGroup*, int64_t begin, int64_t end);
  void (*copy)(const Strided* from, const Strided* to, int64_t begin, int64_t end, int terms, int components);
} Kernels;

#ifdef __cplusplus
extern "C" {
#endif
extern const Kernels stillsplat_plain, stillsplat_avx2, stillsplat_avx512, stillsplat_neon;  // as far as they are built
#ifdef __cplusplus
}
#endif
