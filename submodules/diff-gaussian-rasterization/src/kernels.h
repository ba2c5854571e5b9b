// What crosses the boundaries: Python <-> library (plain C structs) and library <-> one instruction set (a table).
#pragma once
#include <stdint.h>

// A tensor as a base pointer and element strides: over the Gaussians of a group of sixteen, over coefficients, over
// components, over groups. Groups without a gap (stride_n == 1) take the fast loads; anything else works. Two layouts
// have them: contiguous over all Gaussians (stride_group == 16, one stream for each number of a Gaussian), and grouped,
// where all numbers of a group lie together, which is one stream in all.
typedef struct { float* data; int64_t stride_n, stride_k, stride_c, stride_group; } Strided;
enum { GROUP = 16 };

enum {
  FLAG_LOG_SCALES = 1,        // scales are log scales
  FLAG_OPACITY_LOGITS = 2,    // opacities are logits
  FLAG_ANTIALIASED = 4,       // opacity is compensated for the screen-space dilation
  FLAG_CENTER_FROM_POSE = 8,  // the view direction's camera centre is -R^T t and passes its gradient to the pose
  FLAG_CAMERA_GRADIENT = 16,
  FLAG_SAVE_STATES = 32,      // a backward pass will follow
  FLAG_INVERSE_DEPTH = 64,    // the depth that is composited is 1 / z
};

// Gaussians that stay as they are, made ready to be rendered from many cameras: for each group of sixteen, one number
// after the other for all of them, floats first, then the harmonics above the constant one in half precision. `term`
// counts them, by coefficient and colour. The axes are columns of a matrix whose product with its transpose is the
// covariance.
enum { PREPARED_MEANS = 0, PREPARED_AXES = 3, PREPARED_LOG2_OPACITY = 12, PREPARED_COLOR = 13, PREPARED_FLOATS = 16 };
typedef struct { const char* data; int64_t group_bytes; } Prepared;

typedef struct {
  int64_t count;
  int32_t width, height, sh_degree, flags;
  float rotation[9], translation[3];  // camera_from_world
  float fx, fy, cx, cy, near_plane, scale_modifier;
  float center[3], background[3];
  Strided means, rotations, scales, opacities, sh, colors, covariances, screen_means;
  Prepared prepared;  // where it is not null, in place of all tensors but `screen_means`; forward only
} Scene;

typedef struct { float *image, *alpha, *depth; int32_t* radii; } Outputs;

// With this in `Gradients`, the tensors there are the parameters themselves and each Gaussian takes its step of Adam
// where its gradient is known. In order: means, rotations, scales, opacities, sh; the last rate is that of sh above
// the constant term.
typedef struct {
  Strided first[5], second[5];
  float rates_by_bias1[6], inv_root_bias2, beta1, beta2, epsilon;
  float opacity_pull, scale_pull;  // weights in the loss of the sum of opacities and of the sum of scales
} FusedAdam;

typedef struct {
  const float *image, *alpha, *depth;  // gradients that come in; alpha and depth may be null
  Strided means, rotations, scales, opacities, sh, colors, covariances, screen_means;  // that go out; data may be null
  const FusedAdam* adam;  // null: the gradients are written
  double* camera;  // 12 of camera_from_world (row by row, 3x4), then fx, fy, cx, cy
} Gradients;

typedef struct {
  const float* image;          // (3, H, W)
  const float* target;         // element strides below; null: target_bytes, of which 255 is 1
  const uint8_t* target_bytes;
  int64_t target_channel, target_row, target_column, width, height;
  const float *l1_weight, *ssim_weight;   // (H, W); null: 1
  float l1_factor, ssim_factor;
  int32_t want_ssim;                      // the sum even where no map and no gradient need it
  float *gradient, *l1_map, *ssim_map;    // (3, H, W), (H, W), (H, W); null: not wanted
} Loss;
enum { MOST_LOSS_ROWS = 96 };  // in one call

typedef struct {
  float* parameter;
  const float* gradient;
  float *first, *second;
  const uint8_t* visible;  // (count,) or null; element i belongs to Gaussian i % count
  int64_t elements, count;
  float rate_by_bias1, inv_root_bias2, beta1, beta2, epsilon;
} AdamGroup;

enum { BLOCK = 4, TILE_W = 32, TILE_H = 16, BLOCKS_X = TILE_W / BLOCK, BLOCKS_Y = TILE_H / BLOCK,
       BLOCKS = BLOCKS_X * BLOCKS_Y, CHUNK = 1024, CAMERA_SUMS = 19 };

// A projected Gaussian, one cache line. log2(alpha) = log2_opacity + A dx^2 + B dx dy + C dy^2.
typedef struct __attribute__((aligned(64))) {
  float x, y, A, B, C, log2_opacity, r, g, b, depth;  // depth: z or 1 / z, as it is composited
  float z, half_width, half_height, discriminant;  // discriminant = 4 A C - B^2, without cancellation
  int32_t pair_start, pair_count;  // in the part's list
} Splat;

// A splat in a tile, of those of a tile by depth (bits of a positive float): which of its 4x4 blocks it touches.
typedef struct { uint32_t depth, splat, blocks, pair; } TileEntry;

// Gradient sums of one splat in one tile; those of a Gaussian lie together, in the order of its pairs. With
// h = dL/dlog(alpha) at a pixel and x, y its place from the splat's centre: the sums of h, h y, h y y and so on, then
// those of the colour and the depth.
typedef struct __attribute__((aligned(64))) { float v[16]; } Slot;
enum { SUM_H = 0, SUM_HY = 4, SUM_HYY = 8, SUM_HX = 12, SUM_HXY = 1, SUM_HXX = 5, SUM_R = 9, SUM_G = 13, SUM_B = 2,
       SUM_Z = 6, SUM_FREE = 3 };  // SUM_FREE and every fourth after it are 0

// Pairs of a splat and a tile, those of the Gaussians of one part in their order, each number in an array of its own.
// `grow` makes room for `capacity` pairs and keeps what is there. `visible`: how many of the Gaussians have a pair.
typedef struct PairList {
  uint32_t *tile, *depth, *splat, *blocks;
  int64_t count, capacity, visible;
  void (*grow)(struct PairList*, int64_t capacity);
} PairList;

// What the compositing of a tile leaves for its way back. `alphas`: of each splat at the pixels of each block that it
// touches, as they were used. `notes`: which these are. For each batch of splats the blocks that were alive (32 bits; 0 ends
// it), and for each of them how many splats each of its vectors has passed (a byte each, in fours) and the places in the
// batch of the most that one of them has. Null: nothing is left, and everything is computed again.
typedef struct { float* alphas; uint8_t* notes; } Saved;
enum { BATCH = 224, VISITS_TOGETHER = 4, MOST_VECTORS_OF_BLOCK = 4 };
// Numbers and bytes that a tile's `visits` of splats to blocks may fill.
static inline int64_t alphas_to_save(int64_t splats, int64_t visits) {
  const int64_t lists = (splats + BATCH - 1) / BATCH * BLOCKS;
  return BLOCK * BLOCK * (visits + lists * (VISITS_TOGETHER - 1));
}
static inline int64_t notes_to_save(int64_t splats, int64_t visits) {
  const int64_t batches = (splats + BATCH - 1) / BATCH;
  return visits + batches * (4 + BLOCKS * (MOST_VECTORS_OF_BLOCK + VISITS_TOGETHER - 1)) + 4 + 16;
}

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
extern const Kernels stillsplat_plain, stillsplat_avx2, stillsplat_avx512, stillsplat_neon;  // those of the machine
#ifdef __cplusplus
}
#endif
