// Coverage: which blocks of which tiles a splat touches.
#pragma once
#include "kernels.h"
#include "simd.h"

namespace {

// Integer lanes where the mask is set; 0 elsewhere.
#if defined(STILLSPLAT_AVX512)
INLINE vi keep_lanes(vm selected, vi v) { return (vi)_mm512_maskz_mov_epi32(selected, (__m512i)v); }
#else
INLINE vi keep_lanes(vm selected, vi v) { return v & selected; }
#endif

// The extent of the ellipse alpha = 1/255 in x is exact in each row of blocks: the boundary
// x(y) = (-B y +- sqrt(4 A E - (4 A C - B^2) y^2)) / 2 A is extreme at the ellipse's leftmost and rightmost points, whose
// y are clamped to the pixel centers of the row. E = log2_opacity - log2(1/255).

INLINE void set_pair(PairList& list, int64_t at, uint32_t tile, float depth, uint32_t splat, uint32_t blocks) {
  list.tile[at] = tile;
  memcpy(&list.depth[at], &depth, sizeof depth);  // the bits of positive floats have the order of the floats
  list.splat[at] = splat;
  list.blocks[at] = blocks;
}

// Appends the pairs of one splat of any size, W rows of blocks at a time, and returns their number. The list must have room.
__attribute__((noinline)) int32_t cover_large(const Scene* scene, const Splat& p, uint32_t splat, PairList& list) {
  const int width = scene->width, height = scene->height, tiles_x = (width + TILE_W - 1) / TILE_W;
  const float x0 = fmaxf(ceilf(p.x - p.half_width), 0.0f), x1 = fminf(floorf(p.x + p.half_width), width - 1.0f);
  const float y0 = fmaxf(ceilf(p.y - p.half_height), 0.0f), y1 = fminf(floorf(p.y + p.half_height), height - 1.0f);
  const int first_row = ((int)y0 / TILE_H) * BLOCKS_Y, last_row = (int)y1 / BLOCK;
  const float A = -p.A, B = -p.B, C = -p.C;
  const float E = (p.log2_opacity - LOG2_ALPHA_CUT) * 1.00001f + 1e-5f;
  const float half_B = 0.5f * B / A, inv_2A = 0.5f / A, y_right = -0.5f * B * p.half_width / C;
  const int first_column = (int)x0 / TILE_W, last_column = (int)x1 / TILE_W;
  const vi row_shift = (__builtin_convertvector(iota(), vi) & (int)(BLOCKS_Y - 1)) * (int)BLOCKS_X;
  int32_t count = 0;
  for (int row = first_row; row <= last_row; row += W) {
    vf top = (iota() + (float)row) * (float)BLOCK, bottom = top + (float)(BLOCK - 1);
    vf low = vmax(top, set1(y0)) - p.y, high = vmin(bottom, set1(y1)) - p.y;
    vm in_rows = ge(high, low);
    vf limit = set1(p.half_height);
    vf at_right = vclamp(vclamp(set1(y_right), low, high), -limit, limit);
    vf at_left = vclamp(vclamp(set1(-y_right), low, high), -limit, limit);
    vf root_right = vsqrt(vmax(4.0f * A * E - p.discriminant * at_right * at_right, set1(0.0f)));
    vf root_left = vsqrt(vmax(4.0f * A * E - p.discriminant * at_left * at_left, set1(0.0f)));
    vf right = p.x + (root_right * inv_2A - half_B * at_right) + 0.01f;
    vf left = p.x - (root_left * inv_2A + half_B * at_left) - 0.01f;
    left = vmax(-vfloor(-left), set1(x0));
    right = vmin(vfloor(right), set1(x1));
    in_rows = both(in_rows, ge(right, left));
    // clamped before the conversion to integers, which rows without a pixel would overflow
    vi first = __builtin_convertvector(vclamp(left, set1(0.0f), set1(x1)), vi) >> 2;
    vi last = __builtin_convertvector(vclamp(right, set1(0.0f), set1(x1)), vi) >> 2;
    for (int column = first_column; column <= last_column; column++) {
      // bits [from, to] of each row, shifted to the row's position in its tile, then joined over the rows of a tile
      vi base = set1i(column * BLOCKS_X), zero = set1i(0), top_bit = set1i(BLOCKS_X - 1);
      vi from = first - base, to = last - base;
      from = from > zero ? from : zero;
      to = to < top_bit ? to : top_bit;
      vi filled = from <= to;
      from = filled ? from : zero;
      to = filled ? to : zero;
      vi placed = ((set1i(2) << to) - (set1i(1) << from)) << row_shift;
      placed = keep_lanes(in_rows, placed & filled);
      uint32_t row_blocks[W];
      memcpy(row_blocks, &placed, sizeof row_blocks);
      for (int g = 0; g < W && row + g <= last_row; g += BLOCKS_Y) {
        uint32_t blocks = row_blocks[g] | row_blocks[g + 1] | row_blocks[g + 2] | row_blocks[g + 3];
        set_pair(list, list.count + count, (uint32_t)((row + g) / BLOCKS_Y * tiles_x + column), p.z, splat, blocks);
        count += blocks != 0;
      }
    }
  }
  list.count += count;
  return count;
}

// The extents of W splats. "Small" splats lie in at most two rows and two columns of tiles.
struct Extents {
  vf x, y, x0, x1, y0, y1;        // center; first and last pixel of the extent, clipped to the image
  vf A, B, C, half_width, half_height, discriminant, log2_opacity;
};
enum { SMALL_TILES = 4, SMALL_ROWS = 2 * BLOCKS_Y };

// For small splats, the blocks touched in four tiles: the first one of the splat, the one to its right, and the two below.
// Each lane steps through the rows of blocks from the first row of its own splat. Lanes outside `small` are undefined.
INLINE void cover_small(const Extents& p, vm small, vf first_tile_row, vf first_tile_column,
                        uint32_t blocks[SMALL_TILES][W]) {
  const vf A = -p.A, B = -p.B, C = -p.C, zero = set1(0.0f);
  const vf E = fma(p.log2_opacity - LOG2_ALPHA_CUT, set1(1.00001f), set1(1e-5f));
  const vf inv_2A = 0.5f / A, half_B = B * inv_2A, y_right = -0.5f * B * p.half_width / C, four_AE = 4.0f * A * E;
  const vf limit = p.half_height, by_block = set1(1.0f / BLOCK), last_bit = set1(2.0f * BLOCKS_X - 1.0f);
  const vf first_column = first_tile_column * (float)BLOCKS_X, first_row = vfloor(zero_unless(small, p.y0) * by_block);
  const vf more_rows = vfloor(zero_unless(small, p.y1) * by_block) - first_row;
  vi shift = __builtin_convertvector((first_row - first_tile_row * (float)BLOCKS_Y) * (float)BLOCKS_X, vi);
  vf top = first_row * (float)BLOCK;
  vi words[SMALL_TILES];
  for (vi& word : words) word = set1i(0);
  for (int row = 0; row < SMALL_ROWS && any(ge(more_rows, set1((float)row))); row++) {
    const vf low = vmax(top, p.y0) - p.y, high = vmin(top + (float)(BLOCK - 1), p.y1) - p.y;
    const vf at_right = vclamp(vclamp(y_right, low, high), -limit, limit);
    const vf at_left = vclamp(vclamp(-y_right, low, high), -limit, limit);
    const vf root_right = vsqrt(vmax(fnma(p.discriminant * at_right, at_right, four_AE), zero));
    const vf root_left = vsqrt(vmax(fnma(p.discriminant * at_left, at_left, four_AE), zero));
    vf right = p.x + fnma(half_B, at_right, root_right * inv_2A) + 0.01f;
    vf left = p.x - fma(half_B, at_left, root_left * inv_2A) - 0.01f;
    left = vmax(-vfloor(-left), p.x0);
    right = vmin(vfloor(right), p.x1);
    const vm some = both(ge(high, low), ge(right, left));
    // bits [from, to] of two tiles side by side; clamped because lanes may be not small or without a pixel
    const vi from = __builtin_convertvector(vclamp(vfloor(left * by_block) - first_column, zero, last_bit), vi);
    const vi to = __builtin_convertvector(vclamp(vfloor(right * by_block) - first_column, zero, last_bit), vi);
    const vi bits = keep_lanes(some, (set1i(2) << to) - (set1i(1) << from));
    const vi in_left = bits & 0xff, in_right = bits >> (int)BLOCKS_X, below = shift - 32;
    words[0] |= shift_left(in_left, shift);
    words[1] |= shift_left(in_right, shift);
    words[2] |= shift_left(in_left, below);
    words[3] |= shift_left(in_right, below);
    shift += (int)BLOCKS_X;
    top += (float)BLOCK;
  }
  memcpy(blocks, words, sizeof words);
}

// Appends the pairs of the small splat in lane l and returns their number.
INLINE int32_t write_one_small(int32_t tile, float depth, const uint32_t blocks[SMALL_TILES][W], int l, int tiles_x,
                               uint32_t splat, PairList& list) {
  const int64_t first = list.count;
  for (int q = 0; q < SMALL_TILES; q++) {  // always written; an empty pair is overwritten by the next one
    set_pair(list, list.count, (uint32_t)(tile + q / 2 * tiles_x + q % 2), depth, splat, blocks[q][l]);
    list.count += blocks[q][l] != 0;
  }
  return (int32_t)(list.count - first);
}

// Appends the pairs of W small splats from `splat` on; the list must have room. `tile`: the first of the four tiles of each
// splat. Returns for each splat the position of its first pair in the list and its number of pairs. `between` is called
// with 0 to 3 between the parts of the work, to prefetch.
template <class Between>
INLINE void write_small(vi tile, vf depth, const uint32_t blocks[SMALL_TILES][W], int tiles_x, uint32_t splat,
                        PairList& list, vi& start, vi& count, const Between& between) {
#if defined(STILLSPLAT_AVX512)
  // piece j (4 lanes) of a vector holds the splats j, 4 + j, 8 + j and 12 + j, so that spread pieces are in splat order
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const auto arranged = [&](vf v) __attribute__((always_inline)) { return (vf)_mm512_permutexvar_ps(order, (__m512)v); };
  vf words[SMALL_TILES], tiles[4], depths[4], splats[4];
  __m512i counts = _mm512_setzero_si512();
  for (int q = 0; q < SMALL_TILES; q++) {
    words[q] = load((const float*)blocks[q]);
    const __m512i word = (__m512i)words[q];
    counts = _mm512_mask_add_epi32(counts, _mm512_test_epi32_mask(word, word), counts, _mm512_set1_epi32(1));
    words[q] = arranged(words[q]);
  }
  transpose_pieces(words);  // vector k: the four tiles of the splats 4 k to 4 k + 3
  const __m512i beside = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 1, tiles_x, tiles_x + 1));
  spread_pieces(arranged((vf)tile), tiles);
  spread_pieces(arranged(depth), depths);
  spread_pieces((vf)_mm512_add_epi32(order, _mm512_set1_epi32((int)splat)), splats);
  int64_t at = list.count;
  for (int k = 0; k < 4; k++) {
    between(k);
    const __m512i word = (__m512i)words[k];
    const __mmask16 selected = _mm512_test_epi32_mask(word, word);
    _mm512_storeu_si512(list.tile + at, _mm512_maskz_compress_epi32(selected, _mm512_add_epi32((__m512i)tiles[k], beside)));
    _mm512_storeu_si512(list.depth + at, _mm512_maskz_compress_epi32(selected, (__m512i)depths[k]));
    _mm512_storeu_si512(list.splat + at, _mm512_maskz_compress_epi32(selected, (__m512i)splats[k]));
    _mm512_storeu_si512(list.blocks + at, _mm512_maskz_compress_epi32(selected, word));
    at += __builtin_popcount(selected);
  }
  const __m512i zero = _mm512_setzero_si512();
  __m512i sums = _mm512_add_epi32(counts, _mm512_alignr_epi32(counts, zero, 15));
  sums = _mm512_add_epi32(sums, _mm512_alignr_epi32(sums, zero, 14));
  sums = _mm512_add_epi32(sums, _mm512_alignr_epi32(sums, zero, 12));
  sums = _mm512_add_epi32(sums, _mm512_alignr_epi32(sums, zero, 8));
  count = (vi)counts;
  start = (vi)sums - count + (int32_t)list.count;
  list.count = at;
#else
  for (int l = 0; l < W; l++) {
    if (l % (W / 4) == 0) between(l / (W / 4));
    start[l] = (int32_t)list.count;
    count[l] = write_one_small(tile[l], depth[l], blocks, l, tiles_x, splat + l, list);
  }
#endif
}

}  // namespace
