// What the two directions of compositing share: the pixels of a tile, block by block, and a splat's alpha.
#pragma once
#include "coverage.h"
#include "kernels.h"
#include "projection.h"
#include "simd.h"

namespace {

// A block of 4x4 pixels is PARTS vectors.
enum { PIXELS = BLOCK * BLOCK, PARTS = PIXELS / W };

struct TilePlace { int left, top, width, height; };  // width and height: how much of the tile lies in the picture

INLINE TilePlace place_of(const Scene& s, int tile) {
  const int tiles_x = (s.width + TILE_W - 1) / TILE_W;
  const int left = (tile % tiles_x) * TILE_W, top = (tile / tiles_x) * TILE_H;
  return {left, top, s.width - left < TILE_W ? s.width - left : TILE_W,
          s.height - top < TILE_H ? s.height - top : TILE_H};
}

// Blocks with at least one pixel in the picture.
INLINE uint32_t blocks_inside(const TilePlace& t) {
  uint32_t inside = 0;
  for (int b = 0; b < BLOCKS; b++)
    if ((b % BLOCKS_X) * BLOCK < t.width && (b / BLOCKS_X) * BLOCK < t.height) inside |= 1u << b;
  return inside;
}

// How many columns and rows of a block lie in the picture.
INLINE int columns_inside(const TilePlace& t, int b) {
  int n = t.width - (b % BLOCKS_X) * BLOCK;
  return n < BLOCK ? n : BLOCK;
}
INLINE int rows_inside(const TilePlace& t, int b) {
  int n = t.height - (b / BLOCKS_X) * BLOCK;
  return n < BLOCK ? n : BLOCK;
}

// The block's pixels of one plane; those outside the picture read as 0 and are not written.
INLINE void read_block(const float* plane, int64_t stride, const TilePlace& t, int b, float* pixels) {
  const int columns = columns_inside(t, b), rows = rows_inside(t, b);
  const float* from = plane + (int64_t)(t.top + (b / BLOCKS_X) * BLOCK) * stride + t.left + (b % BLOCKS_X) * BLOCK;
  if (columns == BLOCK && rows == BLOCK) {
    for (int r = 0; r < BLOCK; r++) memcpy(pixels + r * BLOCK, from + r * stride, BLOCK * sizeof(float));
    return;
  }
  memset(pixels, 0, PIXELS * sizeof(float));
  for (int r = 0; r < rows; r++) memcpy(pixels + r * BLOCK, from + r * stride, columns * sizeof(float));
}
INLINE void write_block(float* plane, int64_t stride, const TilePlace& t, int b, const float* pixels) {
  const int columns = columns_inside(t, b), rows = rows_inside(t, b);
  float* to = plane + (int64_t)(t.top + (b / BLOCKS_X) * BLOCK) * stride + t.left + (b % BLOCKS_X) * BLOCK;
  if (columns == BLOCK) {
    for (int r = 0; r < rows; r++) memcpy(to + r * stride, pixels + r * BLOCK, BLOCK * sizeof(float));
    return;
  }
  for (int r = 0; r < rows; r++) memcpy(to + r * stride, pixels + r * BLOCK, columns * sizeof(float));
}

// Lanes of one part of a block whose pixels lie in the picture.
INLINE vm lanes_inside(const TilePlace& t, int b, int part) {
  float inside[W] __attribute__((aligned(64)));
  const int columns = columns_inside(t, b), rows = rows_inside(t, b);
  for (int l = 0; l < W; l++) {
    const int pixel = part * W + l;
    inside[l] = pixel % BLOCK < columns && pixel / BLOCK < rows ? 1.0f : 0.0f;
  }
  return gt(load(inside), set1(0.0f));
}

// Coordinates of a block's pixels.
struct BlockPixels { vf x[PARTS], y[PARTS]; };
INLINE BlockPixels first_block() {
  BlockPixels o;
  for (int s = 0; s < PARTS; s++)
    for (int l = 0; l < W; l++) {
      o.x[s][l] = (float)((s * W + l) % BLOCK);
      o.y[s][l] = (float)((s * W + l) / BLOCK);
    }
  return o;
}
INLINE float block_left(const TilePlace& t, int b) { return (float)(t.left + (b % BLOCKS_X) * BLOCK); }
INLINE float block_top(const TilePlace& t, int b) { return (float)(t.top + (b / BLOCKS_X) * BLOCK); }

// log2(alpha) of N splats at the same pixels, one instruction for all of them after the other. Forward and backward
// share the formula, so that both take the same decisions.
template <int N>
INLINE void log2_alphas(const Splat* splats, const uint8_t* which, vf x, vf y, vf* e) {
  vf dx[N], dy[N], t[N];
  for (int k = 0; k < N; k++) dx[k] = x - splats[which[k]].x;
  for (int k = 0; k < N; k++) dy[k] = y - splats[which[k]].y;
  for (int k = 0; k < N; k++) e[k] = set1(splats[which[k]].C) * dy[k];
  for (int k = 0; k < N; k++) t[k] = set1(splats[which[k]].B) * dy[k];
  for (int k = 0; k < N; k++) e[k] = fma(e[k], dy[k], set1(splats[which[k]].log2_opacity));
  for (int k = 0; k < N; k++) t[k] = fma(set1(splats[which[k]].A), dx[k], t[k]);
  for (int k = 0; k < N; k++) e[k] = fma(t[k], dx[k], e[k]);
}
// The same of one splat at N vectors of pixels.
template <int N>
INLINE void log2_alphas(const Splat& p, const vf* dx, const vf* dy, vf* e) {
  vf t[N];
  for (int k = 0; k < N; k++) e[k] = set1(p.C) * dy[k];
  for (int k = 0; k < N; k++) t[k] = set1(p.B) * dy[k];
  for (int k = 0; k < N; k++) e[k] = fma(e[k], dy[k], set1(p.log2_opacity));
  for (int k = 0; k < N; k++) t[k] = fma(set1(p.A), dx[k], t[k]);
  for (int k = 0; k < N; k++) e[k] = fma(t[k], dx[k], e[k]);
}

// Alpha of N splats or blocks; 0 where it is not worth a step of 1/255.
template <int N>
INLINE void alphas(const vf* e, vf* alpha) {
  vf raw[N];
  exp2_bounded<N>(e, raw);
  for (int k = 0; k < N; k++)
    alpha[k] = zero_unless(ge(e[k], set1(LOG2_ALPHA_CUT)), vmin(raw[k], set1(ALPHA_MAX)));
}

}  // namespace
