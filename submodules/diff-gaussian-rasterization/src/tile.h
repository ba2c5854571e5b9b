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

// Brings the tile's lines of a plane near, to read or (`write`) to write.
template <int write>
INLINE void bring_near(const float* plane, int64_t stride, const TilePlace& t) {
  const float* from = plane + t.top * stride + t.left;
  for (int y = 0; y < t.height; y++, from += stride)
    for (int x = 0; x < t.width; x += 16) __builtin_prefetch(from + x, write);
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

INLINE bool whole_block(const TilePlace& t, int b) { return columns_inside(t, b) == BLOCK && rows_inside(t, b) == BLOCK; }

// One vector of a block's pixels of a plane; those outside the picture read as 0 and are not written.
INLINE vf read_part(const float* plane, int64_t stride, const TilePlace& t, int b, int part) {
  const int first_row = part * (W / BLOCK), columns = columns_inside(t, b), rows = rows_inside(t, b);
  const float* from = plane + (int64_t)(t.top + (b / BLOCKS_X) * BLOCK) * stride + t.left + (b % BLOCKS_X) * BLOCK;
  if (whole_block(t, b)) return load_rows(from + first_row * stride, stride);
  float pixels[W] __attribute__((aligned(64))) = {0};
  for (int r = 0; r < W / BLOCK && first_row + r < rows; r++)
    memcpy(pixels + r * BLOCK, from + (first_row + r) * stride, columns * sizeof(float));
  return load(pixels);
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
  if (whole_block(t, b)) return first_lanes(W);
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

// What N splats, front to back, do to the pixels (x, y), one instruction for all of them after the other: alone, each
// would be a chain of some twenty instructions that wait for each other. alpha is 0 where it is not worth a step of
// 1/255 and from where a pixel is finished, before[k] the transmittance before splat k, before[0] given. A pixel that is
// not `open` is finished: its transmittance stays. False when none is open any more. Forward and backward share this, so
// that both decide alike.
template <int N>
INLINE bool pass_splats(const Splat* splats, const uint8_t* which, vf x, vf y, vm& open, vf* alpha, vf* passed,
                        vf* before) {
  vf dx[N], dy[N], t[N], e[N], raw[N];
  for (int k = 0; k < N; k++) dx[k] = x - splats[which[k]].x;
  for (int k = 0; k < N; k++) dy[k] = y - splats[which[k]].y;
  for (int k = 0; k < N; k++) e[k] = set1(splats[which[k]].C) * dy[k];
  for (int k = 0; k < N; k++) t[k] = set1(splats[which[k]].B) * dy[k];
  for (int k = 0; k < N; k++) e[k] = fma(e[k], dy[k], set1(splats[which[k]].log2_opacity));
  for (int k = 0; k < N; k++) t[k] = fma(set1(splats[which[k]].A), dx[k], t[k]);
  for (int k = 0; k < N; k++) e[k] = fma(t[k], dx[k], e[k]);
  exp2_bounded<N>(e, raw);
  for (int k = 0; k < N; k++)
    alpha[k] = zero_unless(ge_among(open, e[k], set1(LOG2_ALPHA_CUT)), vmin(raw[k], set1(ALPHA_MAX)));
  for (int k = 0; k < N; k++) passed[k] = 1.0f - alpha[k];
  for (int k = 0; k < N; k++) before[k + 1] = before[k] * passed[k];
  if (__builtin_expect(!any(gt(set1(TRANSMITTANCE_STOP), before[N])), 1)) return true;
  for (int k = 0; k < N; k++) {  // some pixel stops before one of these
    open = both(open, ge(before[k] * passed[k], set1(TRANSMITTANCE_STOP)));
    alpha[k] = zero_unless(open, alpha[k]);
    passed[k] = 1.0f - alpha[k];
    before[k + 1] = before[k] * passed[k];
  }
  return any(open);
}

// Splats come in batches that fit the first cache. Each batch is sorted into a list for every block, so that a block's
// pixels stay in registers. Places in the lists are bytes.
enum { TOGETHER = VISITS_TOGETHER };

// What fills lists up to a multiple of TOGETHER and is never seen.
enum { NOBODY = BATCH };

struct Batch {
  Splat splats[BATCH + 1];
  uint8_t lists[BLOCKS][BATCH + 16];
  int lengths[BLOCKS], size;
  uint32_t touched[BATCH];  // blocks of each splat that are alive
};

// For each block that is alive, the places in the batch of the splats that touch it, filled up to a multiple of TOGETHER.
INLINE void sort_into_blocks(uint32_t alive, Batch& batch) {
#if defined(STILLSPLAT_AVX512)
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (uint32_t blocks = alive; blocks; blocks &= blocks - 1) {
    const int b = __builtin_ctz(blocks);
    const __m512i bit = _mm512_set1_epi32((int)(1u << b));
    int length = 0;
    for (int j = 0; j < batch.size; j += 16) {
      const __mmask16 those = _mm512_test_epi32_mask(_mm512_loadu_si512(batch.touched + j), bit);
      const __m512i places = _mm512_maskz_compress_epi32(those, _mm512_add_epi32(lanes, _mm512_set1_epi32(j)));
      _mm_storeu_si128((__m128i*)(batch.lists[b] + length), _mm512_cvtepi32_epi8(places));
      length += __builtin_popcount(those);
    }
    batch.lengths[b] = length;
  }
#else
  for (int b = 0; b < BLOCKS; b++) batch.lengths[b] = 0;
  for (int j = 0; j < batch.size; j++)
    for (uint32_t blocks = batch.touched[j]; blocks; blocks &= blocks - 1) {
      const int b = __builtin_ctz(blocks);
      batch.lists[b][batch.lengths[b]++] = (uint8_t)j;
    }
#endif
  for (uint32_t blocks = alive; blocks; blocks &= blocks - 1) {
    const int b = __builtin_ctz(blocks);
    memset(batch.lists[b] + batch.lengths[b], NOBODY, TOGETHER);
  }
}

INLINE void start_batches(Batch& batch) {
  memset(&batch.splats[NOBODY], 0, sizeof(Splat));
  batch.splats[NOBODY].log2_opacity = -100.0f;
}

// Brings a few of the next batch's splats near; called between the blocks of this one.
enum { NEAR_AT_ONCE = BATCH / BLOCKS };
INLINE void bring_near(const Splat* splats, const TileEntry* entries, int64_t from, int64_t count) {
  for (int64_t k = from; k < from + NEAR_AT_ONCE && k < count; k++) __builtin_prefetch(&splats[entries[k].splat]);
}

// The batch of the entries from `first` on, for the blocks that are alive; without their lists.
INLINE void load_batch(const Splat* splats, const TileEntry* entries, int64_t first, int64_t count, uint32_t alive,
                       Batch& batch) {
  const int size = (int)(count - first < BATCH ? count - first : BATCH);
  for (int j = 0; j < size; j++) {
    if (first == 0 && j + 12 < count) __builtin_prefetch(&splats[entries[j + 12].splat]);
    batch.touched[j] = entries[first + j].blocks & alive;
    batch.splats[j] = splats[entries[first + j].splat];
  }
  for (int j = size; j % 16; j++) batch.touched[j] = 0;
  batch.size = size;
}

}  // namespace
