// Shared by the forward and the backward pass of a tile: its pixels, block by block, the alpha of a splat at a pixel, and
// the lists of the splats that touch each block.
#pragma once
#include "coverage.h"
#include "kernels.h"
#include "projection.h"
#include "simd.h"

namespace {

// The 4x4 pixels of a block are PARTS vectors.
enum { PIXELS = BLOCK * BLOCK, PARTS = PIXELS / W };

struct TileRectangle { int left, top, width, height; };  // width and height: of the part that lies in the image

INLINE TileRectangle tile_rectangle(const Scene& s, int tile) {
  const int tiles_x = (s.width + TILE_W - 1) / TILE_W;
  const int left = (tile % tiles_x) * TILE_W, top = (tile / tiles_x) * TILE_H;
  return {left, top, s.width - left < TILE_W ? s.width - left : TILE_W,
          s.height - top < TILE_H ? s.height - top : TILE_H};
}

// Prefetches the tile's rows of an image plane, for reading or (`write` = 1) for writing.
template <int write>
INLINE void prefetch_tile(const float* plane, int64_t stride, const TileRectangle& t) {
  const float* from = plane + t.top * stride + t.left;
  for (int y = 0; y < t.height; y++, from += stride)
    for (int x = 0; x < t.width; x += 16) __builtin_prefetch(from + x, write);
}

// Blocks with at least one pixel in the image.
INLINE uint32_t blocks_inside(const TileRectangle& t) {
  uint32_t inside = 0;
  for (int b = 0; b < BLOCKS; b++)
    if ((b % BLOCKS_X) * BLOCK < t.width && (b / BLOCKS_X) * BLOCK < t.height) inside |= 1u << b;
  return inside;
}

// How many columns and rows of a block lie in the image.
INLINE int columns_inside(const TileRectangle& t, int b) {
  int n = t.width - (b % BLOCKS_X) * BLOCK;
  return n < BLOCK ? n : BLOCK;
}
INLINE int rows_inside(const TileRectangle& t, int b) {
  int n = t.height - (b / BLOCKS_X) * BLOCK;
  return n < BLOCK ? n : BLOCK;
}

INLINE bool whole_block(const TileRectangle& t, int b) { return columns_inside(t, b) == BLOCK && rows_inside(t, b) == BLOCK; }

// Reads one vector of a block's pixels from an image plane, 0 for pixels outside the image; writes those inside.
INLINE vf read_part(const float* plane, int64_t stride, const TileRectangle& t, int b, int part) {
  const int first_row = part * (W / BLOCK), columns = columns_inside(t, b), rows = rows_inside(t, b);
  const float* from = plane + (int64_t)(t.top + (b / BLOCKS_X) * BLOCK) * stride + t.left + (b % BLOCKS_X) * BLOCK;
  if (whole_block(t, b)) return load_rows(from + first_row * stride, stride);
  float pixels[W] __attribute__((aligned(64))) = {0};
  for (int r = 0; r < W / BLOCK && first_row + r < rows; r++)
    memcpy(pixels + r * BLOCK, from + (first_row + r) * stride, columns * sizeof(float));
  return load(pixels);
}
INLINE void write_block(float* plane, int64_t stride, const TileRectangle& t, int b, const float* pixels) {
  const int columns = columns_inside(t, b), rows = rows_inside(t, b);
  float* to = plane + (int64_t)(t.top + (b / BLOCKS_X) * BLOCK) * stride + t.left + (b % BLOCKS_X) * BLOCK;
  if (columns == BLOCK) {
    for (int r = 0; r < rows; r++) memcpy(to + r * stride, pixels + r * BLOCK, BLOCK * sizeof(float));
    return;
  }
  for (int r = 0; r < rows; r++) memcpy(to + r * stride, pixels + r * BLOCK, columns * sizeof(float));
}

// Lanes of one vector of a block whose pixels lie in the image.
INLINE vm lanes_inside(const TileRectangle& t, int b, int part) {
  if (whole_block(t, b)) return first_lanes(W);
  float inside[W] __attribute__((aligned(64)));
  const int columns = columns_inside(t, b), rows = rows_inside(t, b);
  for (int l = 0; l < W; l++) {
    const int pixel = part * W + l;
    inside[l] = pixel % BLOCK < columns && pixel / BLOCK < rows ? 1.0f : 0.0f;
  }
  return gt(load(inside), set1(0.0f));
}

// Coordinates of the pixels of the block at (0, 0).
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
INLINE float block_left(const TileRectangle& t, int b) { return (float)(t.left + (b % BLOCKS_X) * BLOCK); }
INLINE float block_top(const TileRectangle& t, int b) { return (float)(t.top + (b / BLOCKS_X) * BLOCK); }

// log2 of a splat's alpha at the pixels (x, y), before the clamp to ALPHA_MAX and the test against ALPHA_CUT.
INLINE vf log2_alpha(const Splat& p, vf x, vf y) {
  const vf dx = x - p.x, dy = y - p.y;
  const vf of_y = fma(set1(p.C) * dy, dy, set1(p.log2_opacity));
  return fma(fma(set1(p.A), dx, set1(p.B) * dy), dx, of_y);
}

// Alpha; 0 below ALPHA_CUT and for pixels that are finished (not open).
INLINE vf alpha_of(vf log2_alpha, vm open) {
  return zero_unless(ge_among(open, log2_alpha, set1(LOG2_ALPHA_CUT)), vmin(exp2_bounded(log2_alpha), set1(ALPHA_MAX)));
}

// Splats are processed in batches that fit the L1 cache. For each batch, every block gets the list of the splats that touch
// it, so that the block's pixels stay in registers. A list holds positions in the batch, as bytes, and is padded to a
// multiple of TOGETHER.
enum { TOGETHER = VISITS_TOGETHER };

// Position of the transparent splat that pads the lists.
enum { PADDING = BATCH };

// Composites TOGETHER splats, front to back: their weights, and the transmittance before each of them (before[0] is given).
// A pixel that is not `open` is finished, and its transmittance does not change. Where a pixel finishes, the alphas from
// that splat on are set to 0. Returns false when no pixel is open any more. The forward and the backward pass share this
// function so that they make the same decisions.
INLINE bool pass_splats(vm& open, vf* alpha, vf* weight, vf* before) {
  for (int k = 0; k < TOGETHER; k++) {
    weight[k] = alpha[k] * before[k];
    before[k + 1] = before[k] - weight[k];
  }
  if (__builtin_expect(!any(gt(set1(TRANSMITTANCE_STOP), before[TOGETHER])), 1)) return true;
  for (int k = 0; k < TOGETHER; k++) {  // some pixel finishes before one of these splats
    open = both(open, ge(before[k] - alpha[k] * before[k], set1(TRANSMITTANCE_STOP)));
    alpha[k] = zero_unless(open, alpha[k]);
    weight[k] = alpha[k] * before[k];
    before[k + 1] = before[k] - weight[k];
  }
  return any(open);
}

struct Batch {
  const Splat* splats[BATCH + 1];
  Splat padding;
  int size;
  uint32_t touched[BATCH + 32];  // blocks that each splat touches and that are alive; 0 beyond the last splat
  // the lists of one block after the other, with room for stores of whole vectors
  uint8_t lists[BLOCKS * BATCH + 64];
  int begin[BLOCKS], lengths[BLOCKS];
};

// Length of a list with its padding.
INLINE int filled(int length) { return (length + TOGETHER - 1) / TOGETHER * TOGETHER; }

// Completes the list of a block and returns where the next list begins.
INLINE int end_list(int b, int begin, int length, Batch& batch) {
  batch.begin[b] = begin;
  batch.lengths[b] = length;
  memset(batch.lists + begin + length, PADDING, TOGETHER);
  return begin + filled(length);
}

#if defined(STILLSPLAT_AVX512)
// Builds the lists 64 splats at a time on processors that can compress bytes (VBMI2: Intel since Ice Lake, AMD since Zen 4).
__attribute__((target("avx512vbmi2"), noinline)) void list_bytes(uint32_t alive, Batch& batch) {
  const int chunks = (batch.size + 63) / 64;
  __m512i planes[(BATCH + 63) / 64][4];  // byte q of the 32-bit block masks of 64 splats
  const __m512i bytes = _mm512_maskz_broadcast_i32x4(0xffff, _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  for (int c = 0; c < chunks; c++) {
    __m512i v[4];
    for (int k = 0; k < 4; k++) {
      const __m512i words = _mm512_loadu_si512(batch.touched + 64 * c + 16 * k);
      v[k] = _mm512_maskz_permutexvar_epi32(0xffff, order, _mm512_shuffle_epi8(words, bytes));
    }
    const __m512i a = _mm512_shuffle_i32x4(v[0], v[1], 0x44), b = _mm512_shuffle_i32x4(v[2], v[3], 0x44);
    const __m512i e = _mm512_shuffle_i32x4(v[0], v[1], 0xee), f = _mm512_shuffle_i32x4(v[2], v[3], 0xee);
    planes[c][0] = _mm512_shuffle_i32x4(a, b, 0x88);
    planes[c][1] = _mm512_shuffle_i32x4(a, b, 0xdd);
    planes[c][2] = _mm512_shuffle_i32x4(e, f, 0x88);
    planes[c][3] = _mm512_shuffle_i32x4(e, f, 0xdd);
  }
  alignas(64) uint8_t first[64];
  for (int k = 0; k < 64; k++) first[k] = (uint8_t)k;
  int begin = 0;
  for (uint32_t blocks = alive; blocks; blocks &= blocks - 1) {
    const int b = __builtin_ctz(blocks);
    const __m512i bit = _mm512_set1_epi8((char)(1 << b % 8));
    __m512i positions = _mm512_load_si512(first);
    int length = 0;
    for (int c = 0; c < chunks; c++) {
      const __mmask64 selected = _mm512_test_epi8_mask(planes[c][b / 8], bit);
      _mm512_storeu_si512(batch.lists + begin + length, _mm512_maskz_compress_epi8(selected, positions));
      length += (int)__builtin_popcountll(selected);
      positions = _mm512_add_epi8(positions, _mm512_set1_epi8(64));
    }
    begin = end_list(b, begin, length, batch);
  }
}

// Not a global initializer, because that would run on processors without AVX-512 too. STILLSPLAT_NO_VBMI2 is for tests.
INLINE bool compresses_bytes() {
  static const bool does = __builtin_cpu_supports("avx512vbmi2") && !getenv("STILLSPLAT_NO_VBMI2");
  return does;
}

// Builds the lists 16 splats at a time, on processors without VBMI2.
INLINE void list_words(uint32_t alive, Batch& batch) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  int begin = 0;
  for (uint32_t blocks = alive; blocks; blocks &= blocks - 1) {
    const int b = __builtin_ctz(blocks);
    const __m512i bit = _mm512_set1_epi32((int)(1u << b));
    int length = 0;
    for (int j = 0; j < batch.size; j += 16) {
      const __mmask16 selected = _mm512_test_epi32_mask(_mm512_loadu_si512(batch.touched + j), bit);
      const __m512i positions = _mm512_maskz_compress_epi32(selected, _mm512_add_epi32(lanes, _mm512_set1_epi32(j)));
      _mm_storeu_si128((__m128i*)(batch.lists + begin + length), _mm512_cvtepi32_epi8(positions));
      length += __builtin_popcount(selected);
    }
    begin = end_list(b, begin, length, batch);
  }
}
#endif

// Builds, for each block that is alive, the list of the splats that touch it.
INLINE void sort_into_blocks(uint32_t alive, Batch& batch) {
#if defined(STILLSPLAT_AVX512)
  if (compresses_bytes())
    list_bytes(alive, batch);
  else
    list_words(alive, batch);
#else
  uint8_t rows[BLOCKS][BATCH];
  int lengths[BLOCKS] = {0};
  for (int j = 0; j < batch.size; j++)
    for (uint32_t blocks = batch.touched[j]; blocks; blocks &= blocks - 1) {
      const int b = __builtin_ctz(blocks);
      rows[b][lengths[b]++] = (uint8_t)j;
    }
  int begin = 0;
  for (uint32_t blocks = alive; blocks; blocks &= blocks - 1) {
    const int b = __builtin_ctz(blocks);
    memcpy(batch.lists + begin, rows[b], lengths[b]);
    begin = end_list(b, begin, lengths[b], batch);
  }
#endif
}

INLINE void start_batches(Batch& batch) {
  batch.padding = {};
  batch.padding.log2_opacity = -100.0f;
  batch.splats[PADDING] = &batch.padding;
}

// Prefetches a few splats of the next batch; called between the blocks of the current one.
enum { PREFETCH_AT_ONCE = BATCH / BLOCKS };
INLINE void prefetch_splats(const Splat* splats, const TileEntry* entries, int64_t from, int64_t count) {
  for (int64_t k = from; k < from + PREFETCH_AT_ONCE && k < count; k++) __builtin_prefetch(&splats[entries[k].splat]);
}

// Loads the batch of entries from `first` on, for the blocks that are alive. Does not build the lists.
INLINE void load_batch(const Splat* splats, const TileEntry* entries, int64_t first, int64_t count, uint32_t alive,
                       Batch& batch) {
  const int size = (int)(count - first < BATCH ? count - first : BATCH);
  for (int j = 0; j < size; j++) {
    batch.touched[j] = entries[first + j].blocks & alive;
    batch.splats[j] = &splats[entries[first + j].splat];
    if (first == 0) __builtin_prefetch(batch.splats[j]);
  }
  for (int j = size; j % 64; j++) batch.touched[j] = 0;
  batch.size = size;
}

}  // namespace
