// Which blocks a splat touches, and front-to-back compositing of one tile with its gradient.
#pragma once
#include "kernels.h"
#include "projection.h"
#include "simd.h"

namespace {

const float LOG2_ALPHA_CUT = -7.99435344f;  // log2(1 / 255)

// Lanes of whole numbers that both masks keep, others 0.
#if defined(STILLSPLAT_AVX512)
INLINE vi keep_lanes(vm rows, vi filled, vi v) { return (vi)_mm512_maskz_mov_epi32(rows, (__m512i)(v & filled)); }
#else
INLINE vi keep_lanes(vm rows, vi filled, vi v) { return v & filled & rows; }
#endif

// Writes a splat's pairs and their exact number. For each row of blocks the ellipse's extent in x is exact: the
// boundary x(y) = (-B y +- sqrt(4 A E - (4 A C - B^2) y^2)) / 2 A is extreme at the ellipse's own extreme point,
// clamped into the row's band of pixel centres.
void cover(const Scene* scene, Splat* splat, Pair* pairs) {
  const Splat& p = *splat;
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
      placed = keep_lanes(in_rows, filled, placed);
      uint32_t row_blocks[W];
      memcpy(row_blocks, &placed, sizeof row_blocks);
      for (int g = 0; g < W && row + g <= last_row; g += BLOCKS_Y) {
        uint32_t blocks = row_blocks[g] | row_blocks[g + 1] | row_blocks[g + 2] | row_blocks[g + 3];
        pairs[count] = {(uint32_t)((row + g) / BLOCKS_Y * tiles_x + column), blocks};
        count += blocks != 0;
      }
    }
  }
  splat->pair_count = count;
}

enum { PIXELS = BLOCK * BLOCK, PARTS = PIXELS / W };

struct LaneOffsets { vf x[PARTS], y[PARTS]; };
INLINE LaneOffsets lane_offsets() {
  LaneOffsets o;
  for (int s = 0; s < PARTS; s++)
    for (int l = 0; l < W; l++) {
      o.x[s][l] = (float)((s * W + l) % BLOCK);
      o.y[s][l] = (float)((s * W + l) / BLOCK);
    }
  return o;
}

// log2(alpha); forward and backward share it, so that both take the same decisions.
INLINE vf log2_alpha(const Splat& p, vf dx, vf dy) {
  vf e = fma(set1(p.C) * dy, dy, set1(p.log2_opacity));
  return fma(fma(set1(p.A), dx, set1(p.B) * dy), dx, e);
}

INLINE void next_lines(const Splat* splats, const TileEntry* entries, int64_t i, int64_t count) {
  if (i + 6 < count) __builtin_prefetch(&splats[entries[i + 6].splat]);
}

void forward_tile(const Scene* scene, int tile, const Splat* splats, const TileEntry* entries, int64_t count,
                  const Outputs* out) {
  const Scene& s = *scene;
  const int tiles_x = (s.width + TILE_W - 1) / TILE_W;
  const int left = (tile % tiles_x) * TILE_W, top = (tile / tiles_x) * TILE_H;
  float state[BLOCKS][5][PIXELS] __attribute__((aligned(64)));  // r, g, b, depth, transmittance
  const LaneOffsets lanes = lane_offsets();
  uint32_t alive = 0;
  for (int b = 0; b < BLOCKS; b++) {
    int x = left + (b % BLOCKS_X) * BLOCK, y = top + (b / BLOCKS_X) * BLOCK;
    if (x < s.width && y < s.height) alive |= 1u << b;
    memset(state[b], 0, 4 * PIXELS * sizeof(float));
    for (int i = 0; i < PIXELS; i++)  // pixels outside the image count as finished
      state[b][4][i] = x + i % BLOCK < s.width && y + i / BLOCK < s.height ? 1.0f : -1.0f;
  }
  for (int64_t i = 0; i < count && alive; i++) {
    next_lines(splats, entries, i, count);
    uint32_t blocks = entries[i].blocks & alive;
    if (!blocks) continue;
    const Splat& p = splats[entries[i].splat];
    while (blocks) {
      const int b = __builtin_ctz(blocks);
      blocks &= blocks - 1;
      const float bx = (float)(left + (b % BLOCKS_X) * BLOCK) - p.x, by = (float)(top + (b / BLOCKS_X) * BLOCK) - p.y;
      float(*st)[PIXELS] = state[b];
      uint32_t touched = 0, living = 0;
      for (int part = 0; part < PARTS; part++) {
        const int at = part * W;
        vf dx = lanes.x[part] + bx, dy = lanes.y[part] + by;
        vf e = log2_alpha(p, dx, dy);
        vm valid = ge(e, set1(LOG2_ALPHA_CUT));
        if (!mask_bits(valid)) { living = 1; continue; }
        touched = 1;
        vf T = load(st[4] + at);
        vf alpha = vmin(exp2_bounded(e), set1(ALPHA_MAX));
        vf next = fnma(T, alpha, T);
        vm go = both(valid, ge(next, set1(TRANSMITTANCE_STOP)));
        vf w = zero_unless(go, alpha * T);
        store(st[0] + at, fma(w, set1(p.r), load(st[0] + at)));
        store(st[1] + at, fma(w, set1(p.g), load(st[1] + at)));
        store(st[2] + at, fma(w, set1(p.b), load(st[2] + at)));
        store(st[3] + at, fma(w, set1(p.z), load(st[3] + at)));
        // a finished pixel keeps its transmittance with a minus sign, and never passes the test again
        T = select(go, next, select(valid, -vabs(T), T));
        store(st[4] + at, T);
        living |= mask_bits(gt(T, set1(0.0f)));
      }
      if (touched && !living) alive &= ~(1u << b);
    }
  }
  const int64_t plane = (int64_t)s.width * s.height;
  for (int b = 0; b < BLOCKS; b++) {
    int x = left + (b % BLOCKS_X) * BLOCK, y = top + (b / BLOCKS_X) * BLOCK;
    for (int r = 0; r < BLOCK && y + r < s.height; r++)
      for (int c = 0; c < BLOCK && x + c < s.width; c++) {
        int64_t at = (int64_t)(y + r) * s.width + x + c;
        int k = r * BLOCK + c;
        float T = fabsf(state[b][4][k]);
        for (int ch = 0; ch < 3; ch++) out->image[ch * plane + at] = state[b][ch][k] + T * s.background[ch];
        if (out->alpha) out->alpha[at] = 1.0f - T;
        if (out->depth) out->depth[at] = state[b][3][k];
      }
  }
}

// Sums over lanes of ten vectors, written as the first ten of sixteen floats.
INLINE void store_sums(const vf* v, float* out) {
#if defined(STILLSPLAT_AVX512)
  __m512 pair[5], quad[3];
  const __m512 zero = _mm512_setzero_ps();
  for (int i = 0; i < 5; i++) {
    __m512 a = (__m512)v[2 * i], b = (__m512)v[2 * i + 1];
    pair[i] = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  }
  for (int i = 0; i < 3; i++) {
    __m512d a = _mm512_castps_pd(pair[2 * i]), b = _mm512_castps_pd(i < 2 ? pair[2 * i + 1] : zero);
    quad[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  __m512 x = _mm512_add_ps(_mm512_shuffle_f32x4(quad[0], quad[1], 0x88), _mm512_shuffle_f32x4(quad[0], quad[1], 0xdd));
  __m512 y = _mm512_add_ps(_mm512_shuffle_f32x4(quad[2], zero, 0x88), _mm512_shuffle_f32x4(quad[2], zero, 0xdd));
  _mm512_store_ps(out, _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd)));
#elif defined(STILLSPLAT_AVX2)
  __m256 pair[5], quad[3];
  const __m256 zero = _mm256_setzero_ps();
  for (int i = 0; i < 5; i++) {
    __m256 a = (__m256)v[2 * i], b = (__m256)v[2 * i + 1];
    pair[i] = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
  }
  for (int i = 0; i < 3; i++) {
    __m256d a = _mm256_castps_pd(pair[2 * i]), b = _mm256_castps_pd(i < 2 ? pair[2 * i + 1] : zero);
    quad[i] = _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)));
  }
  _mm256_store_ps(out, _mm256_add_ps(_mm256_permute2f128_ps(quad[0], quad[1], 0x20),
                                     _mm256_permute2f128_ps(quad[0], quad[1], 0x31)));
  _mm256_store_ps(out + 8, _mm256_add_ps(_mm256_permute2f128_ps(quad[2], zero, 0x20),
                                         _mm256_permute2f128_ps(quad[2], zero, 0x31)));
#else
  for (int i = 0; i < 10; i++) out[i] = hsum(v[i]);
  for (int i = 10; i < 16; i++) out[i] = 0.0f;
#endif
}

// Front to back again. With v = color . dL/dcolor + ... the value of a splat to the loss at a pixel,
// dL/dalpha_i = T_i v_i - (sum of w_j v_j behind i, and of the background) / (1 - alpha_i); what is behind is the
// total, known from the outputs, minus what has been passed.
template <bool WITH_DEPTH>
INLINE void backward_tile_of(const Scene* scene, int tile, const Splat* splats, const TileEntry* entries, int64_t count,
                   const Outputs* out, const Gradients* gradients, Slot* slots, uint8_t* slot_used) {
  const Scene& s = *scene;
  const Gradients& g = *gradients;
  const int tiles_x = (s.width + TILE_W - 1) / TILE_W;
  const int left = (tile % tiles_x) * TILE_W, top = (tile / tiles_x) * TILE_H;
  const int64_t plane = (int64_t)s.width * s.height;
  // gradients to r, g, b, depth and alpha; the remaining value; transmittance
  float state[BLOCKS][7][PIXELS] __attribute__((aligned(64)));
  const LaneOffsets lanes = lane_offsets();
  uint32_t alive = 0;
  for (int b = 0; b < BLOCKS; b++) {
    int x = left + (b % BLOCKS_X) * BLOCK, y = top + (b / BLOCKS_X) * BLOCK;
    if (x < s.width && y < s.height) alive |= 1u << b;
    memset(state[b], 0, 6 * PIXELS * sizeof(float));
    for (int k = 0; k < PIXELS; k++) {
      int px = x + k % BLOCK, py = y + k / BLOCK;
      if (px >= s.width || py >= s.height) { state[b][6][k] = -1.0f; continue; }
      int64_t at = (int64_t)py * s.width + px;
      float total = 0.0f;
      for (int ch = 0; ch < 3; ch++) {
        float d = g.image ? g.image[ch * plane + at] : 0.0f;
        state[b][ch][k] = d;
        total += d * out->image[ch * plane + at];
      }
      if (g.depth) { state[b][3][k] = g.depth[at]; total += g.depth[at] * out->depth[at]; }
      if (g.alpha) { state[b][4][k] = g.alpha[at]; total += g.alpha[at] * out->alpha[at]; }
      state[b][5][k] = total;
      state[b][6][k] = 1.0f;
    }
  }
  for (int64_t i = 0; i < count && alive; i++) {
    next_lines(splats, entries, i, count);
    if (i + 6 < count) __builtin_prefetch(&slots[entries[i + 6].slot], 1);
    uint32_t blocks = entries[i].blocks & alive;
    if (!blocks) continue;
    const Splat& p = splats[entries[i].splat];
    vf sum[10];
    for (int k = 0; k < 10; k++) sum[k] = set1(0.0f);
    uint32_t any = 0;
    while (blocks) {
      const int b = __builtin_ctz(blocks);
      blocks &= blocks - 1;
      const float bx = (float)(left + (b % BLOCKS_X) * BLOCK) - p.x, by = (float)(top + (b / BLOCKS_X) * BLOCK) - p.y;
      float(*st)[PIXELS] = state[b];
      uint32_t touched = 0, living = 0;
      for (int part = 0; part < PARTS; part++) {
        const int at = part * W;
        vf dx = lanes.x[part] + bx, dy = lanes.y[part] + by;
        vf e = log2_alpha(p, dx, dy);
        vm valid = ge(e, set1(LOG2_ALPHA_CUT));
        if (!mask_bits(valid)) { living = 1; continue; }
        touched = 1;
        vf T = load(st[6] + at);
        vf raw = exp2_bounded(e), alpha = vmin(raw, set1(ALPHA_MAX));
        vf next = fnma(T, alpha, T);
        vm go = both(valid, ge(next, set1(TRANSMITTANCE_STOP)));
        vf w = zero_unless(go, alpha * T);
        vf d_r = load(st[0] + at), d_g = load(st[1] + at), d_b = load(st[2] + at);
        vf value = set1(p.b) * d_b;
        if (WITH_DEPTH) {
          vf d_z = load(st[3] + at);
          value = fma(set1(p.z), d_z, value + load(st[4] + at));
          sum[9] = fma(w, d_z, sum[9]);
        }
        value = fma(set1(p.r), d_r, fma(set1(p.g), d_g, value));
        vf rest = fnma(w, value, load(st[5] + at));
        vf d_alpha = fnma(rest, reciprocal(1.0f - alpha), T * value);
        vf h = zero_unless(both(go, ge(set1(ALPHA_MAX), raw)), d_alpha * alpha);
        vf hx = h * dx, hy = h * dy;
        sum[0] += h; sum[1] += hx; sum[2] += hy;
        sum[3] = fma(hx, dx, sum[3]); sum[4] = fma(hx, dy, sum[4]); sum[5] = fma(hy, dy, sum[5]);
        sum[6] = fma(w, d_r, sum[6]); sum[7] = fma(w, d_g, sum[7]); sum[8] = fma(w, d_b, sum[8]);
        T = select(go, next, select(valid, -vabs(T), T));
        store(st[5] + at, rest);
        store(st[6] + at, T);
        living |= mask_bits(gt(T, set1(0.0f)));
        any |= mask_bits(go);
      }
      if (touched && !living) alive &= ~(1u << b);
    }
    if (any) {
      store_sums(sum, slots[entries[i].slot].v);
      slot_used[entries[i].slot] = 1;
    }
  }
}

void backward_tile(const Scene* scene, int tile, const Splat* splats, const TileEntry* entries, int64_t count,
                   const Outputs* out, const Gradients* gradients, Slot* slots, uint8_t* slot_used) {
  if (gradients->alpha || gradients->depth)
    backward_tile_of<true>(scene, tile, splats, entries, count, out, gradients, slots, slot_used);
  else
    backward_tile_of<false>(scene, tile, splats, entries, count, out, gradients, slots, slot_used);
}

}  // namespace
