// Which blocks of which tiles a splat touches.
#pragma once
#include "kernels.h"
#include "simd.h"

namespace {

const float LOG2_ALPHA_CUT = -7.99435344f;  // log2(1 / 255)

// Lanes of whole numbers that the mask keeps, others 0.
#if defined(STILLSPLAT_AVX512)
INLINE vi keep_lanes(vm those, vi v) { return (vi)_mm512_maskz_mov_epi32(those, (__m512i)v); }
#else
INLINE vi keep_lanes(vm those, vi v) { return v & those; }
#endif

// For each row of blocks the ellipse's extent in x is exact: the boundary
// x(y) = (-B y +- sqrt(4 A E - (4 A C - B^2) y^2)) / 2 A is extreme at the ellipse's own extreme point, clamped into the
// row's band of pixel centres.

// The pairs of one splat of any size, W rows of blocks at a time; their number.
__attribute__((noinline)) int32_t cover_large(const Scene* scene, const Splat& p, Pair* pairs) {
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
    // clamped before the conversion, so that rows without a pixel do not overflow
    vi first = __builtin_convertvector(vclamp(left, set1(0.0f), set1(x1)), vi) >> 2;
    vi last = __builtin_convertvector(vclamp(right, set1(0.0f), set1(x1)), vi) >> 2;
    for (int column = first_column; column <= last_column; column++) {
      // bits [from, to] of each row, shifted to the row's place in its tile, then joined over the rows of a tile
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
        pairs[count] = {(uint32_t)((row + g) / BLOCKS_Y * tiles_x + column), blocks};
        count += blocks != 0;
      }
    }
  }
  return count;
}

// W splats that lie in at most two rows and two columns of tiles each.
struct Extents {
  vf x, y, x0, x1, y0, y1;        // centre; first and last pixel of the extent, clipped to the picture
  vf A, B, C, half_width, half_height, discriminant, log2_opacity;
};
enum { SMALL_TILES = 4, SMALL_ROWS = 2 * BLOCKS_Y };

// The blocks of the four tiles: this one, the one to its right, and those below. `first_row` and `first_column` are the
// first row of blocks and the first column of blocks of this one; `rows` of blocks at most are looked at.
INLINE void cover_small(const Extents& p, vf first_row, vf first_column, int rows, uint32_t blocks[SMALL_TILES][W]) {
  const vf A = -p.A, B = -p.B, C = -p.C, zero = set1(0.0f);
  const vf E = fma(p.log2_opacity - LOG2_ALPHA_CUT, set1(1.00001f), set1(1e-5f));
  const vf inv_2A = 0.5f / A, half_B = B * inv_2A, y_right = -0.5f * B * p.half_width / C, four_AE = 4.0f * A * E;
  const vf limit = p.half_height, half = set1(1.0f / BLOCK), last_bit = set1(2.0f * BLOCKS_X - 1.0f);
  vi words[SMALL_TILES];
  for (vi& word : words) word = set1i(0);
  for (int row = 0; row < rows; row++) {
    const vf top = (first_row + (float)row) * (float)BLOCK;
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
    // bits [from, to] of two tiles side by side; clamped for lanes that are not small and for those without a pixel
    const vi from = __builtin_convertvector(vclamp(vfloor(left * half) - first_column, zero, last_bit), vi);
    const vi to = __builtin_convertvector(vclamp(vfloor(right * half) - first_column, zero, last_bit), vi);
    const vi bits = keep_lanes(some, (set1i(2) << to) - (set1i(1) << from));
    const int shift = row % BLOCKS_Y * BLOCKS_X, tile = row / BLOCKS_Y * 2;
    words[tile] |= (bits & 0xff) << shift;
    words[tile + 1] |= (bits >> (int)BLOCKS_X) << shift;
  }
  memcpy(blocks, words, sizeof words);
}

// The pairs of W small splats, those of one splat side by side, with where they start, counted from `first`, and how many
// they are; all pairs together. `tile` is the first of each splat's four; there is room for all of them at `pairs`.
// `between` is called four times on the way, with 0 to 3.
template <class Between>
INLINE int32_t write_small(vi tile, const uint32_t blocks[SMALL_TILES][W], int tiles_x, int32_t first, Pair* pairs,
                           vi& start, vi& count, const Between& between) {
#if defined(STILLSPLAT_AVX512)
  vf words[SMALL_TILES];
  __m512i counts = _mm512_setzero_si512();
  for (int q = 0; q < SMALL_TILES; q++) {
    words[q] = load((const float*)blocks[q]);
    const __m512i word = (__m512i)words[q];
    counts = _mm512_mask_add_epi32(counts, _mm512_test_epi32_mask(word, word), counts, _mm512_set1_epi32(1));
  }
  transpose_pieces(words);  // vector k: the four tiles of the splats k, 4 + k, 8 + k and 12 + k
  const __m512i beside = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 1, tiles_x, tiles_x + 1));
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  vf tiles[4];
  spread_pieces((vf)tile, tiles);
  int32_t total = 0;
  for (int k = 0; k < 4; k++) {
    between(k);
    const __m512i word = (__m512i)words[k];
    const __mmask16 those = _mm512_test_epi32_mask(word, word);
    const __m512i where = _mm512_maskz_compress_epi32(those, _mm512_add_epi32((__m512i)tiles[k], beside));
    const __m512i which = _mm512_maskz_compress_epi32(those, word);
    _mm512_storeu_si512(pairs + total, _mm512_permutex2var_epi32(where, low, which));
    _mm512_storeu_si512(pairs + total + 8, _mm512_permutex2var_epi32(where, high, which));
    total += __builtin_popcount(those);
  }
  // sums of the counts in the order in which the splats were written
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), zero = _mm512_setzero_si512();
  __m512i sums = _mm512_permutexvar_epi32(order, counts);
  sums = _mm512_add_epi32(sums, _mm512_alignr_epi32(sums, zero, 15));
  sums = _mm512_add_epi32(sums, _mm512_alignr_epi32(sums, zero, 14));
  sums = _mm512_add_epi32(sums, _mm512_alignr_epi32(sums, zero, 12));
  sums = _mm512_add_epi32(sums, _mm512_alignr_epi32(sums, zero, 8));
  count = (vi)counts;
  start = (vi)_mm512_permutexvar_epi32(order, sums) - count + first;
  return total;
#else
  int32_t total = 0;
  for (int l = 0; l < W; l++) {
    if (l % (W / 4) == 0) between(l / (W / 4));
    start[l] = first + total;
    for (int q = 0; q < SMALL_TILES; q++) {  // written where it belongs or, if empty, over by the next
      pairs[total] = {(uint32_t)(tile[l] + q / 2 * tiles_x + q % 2), blocks[q][l]};
      total += blocks[q][l] != 0;
    }
    count[l] = first + total - start[l];
  }
  return total;
#endif
}

}  // namespace
