// The gradient of one tile's compositing to its splats.
#pragma once
#include "tile.h"

namespace {

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

// Pixels of a block on the way back: gradients to r, g, b, depth and alpha; the value still to come; transmittance. The
// last two are 0 where a pixel is finished.
struct BackwardBlock {
  float d_r[PIXELS], d_g[PIXELS], d_b[PIXELS], d_z[PIXELS], d_alpha[PIXELS], rest[PIXELS], T[PIXELS];
} __attribute__((aligned(64)));

INLINE void start_block(const Scene& s, const TilePlace& place, int b, const Outputs& out, const Gradients& g,
                        BackwardBlock& block) {
  const int64_t plane = (int64_t)s.width * s.height;
  float seen[PIXELS] __attribute__((aligned(64)));
  float* slopes[5] = {block.d_r, block.d_g, block.d_b, block.d_z, block.d_alpha};
  const float* given[5] = {g.image, g.image ? g.image + plane : nullptr, g.image ? g.image + 2 * plane : nullptr,
                           g.depth, g.alpha};
  const float* outputs[5] = {out.image, out.image + plane, out.image + 2 * plane, out.depth, out.alpha};
  vf total[PARTS];
  for (int part = 0; part < PARTS; part++) total[part] = set1(0.0f);
  for (int k = 0; k < 5; k++) {
    if (!given[k]) { memset(slopes[k], 0, PIXELS * sizeof(float)); continue; }
    read_block(given[k], s.width, place, b, slopes[k]);
    read_block(outputs[k], s.width, place, b, seen);
    for (int part = 0; part < PARTS; part++)
      total[part] = fma(load(slopes[k] + part * W), load(seen + part * W), total[part]);
  }
  for (int part = 0; part < PARTS; part++) {
    const vm inside = lanes_inside(place, b, part);
    store(block.rest + part * W, zero_unless(inside, total[part]));
    store(block.T + part * W, zero_unless(inside, set1(1.0f)));
  }
}

// Blocks that a splat visits together, so that one need not wait for the other: one of them alone is a chain of some
// thirty instructions.
enum { BLOCKS_TOGETHER = W == 16 ? 2 : 1, VECTORS = BLOCKS_TOGETHER * PARTS };

// Front to back again. With v = color . dL/dcolor + ... the value of a splat to the loss at a pixel,
// dL/dalpha_i = T_i v_i - (sum of w_j v_j behind i, and of the background) / (1 - alpha_i); what is behind is the
// total, known from the outputs, minus what has been passed. `living` says of each block whether a pixel goes on.
template <bool WITH_DEPTH>
INLINE void visit(const Splat& p, BackwardBlock* const* blocks, const vf* dx, const vf* dy, vf* sum, bool* living) {
  vf e[VECTORS], raw[VECTORS], alpha[VECTORS], T[VECTORS], value[VECTORS], rest[VECTORS];
  log2_alphas<VECTORS>(p, dx, dy, e);
  exp2_bounded<VECTORS>(e, raw);
#define BLOCK_OF(k) (*blocks[(k) / PARTS])
#define PART_OF(k) ((k) % PARTS * W)
  for (int k = 0; k < VECTORS; k++)
    alpha[k] = zero_unless(ge(e[k], set1(LOG2_ALPHA_CUT)), vmin(raw[k], set1(ALPHA_MAX)));
  for (int k = 0; k < VECTORS; k++) {
    const vf before = load(BLOCK_OF(k).T + PART_OF(k)), next = before * (1.0f - alpha[k]);
    const vm keep = ge(next, set1(TRANSMITTANCE_STOP));
    living[k / PARTS] |= any(keep);
    T[k] = zero_unless(keep, before);
    rest[k] = zero_unless(keep, load(BLOCK_OF(k).rest + PART_OF(k)));
    store(BLOCK_OF(k).T + PART_OF(k), zero_unless(keep, next));
  }
  for (int k = 0; k < VECTORS; k++) {
    const BackwardBlock& block = BLOCK_OF(k);
    const int at = PART_OF(k);
    value[k] = set1(p.b) * load(block.d_b + at);
    if (WITH_DEPTH) value[k] = fma(set1(p.z), load(block.d_z + at), value[k] + load(block.d_alpha + at));
    value[k] = fma(set1(p.r), load(block.d_r + at), fma(set1(p.g), load(block.d_g + at), value[k]));
  }
  for (int k = 0; k < VECTORS; k++) {
    BackwardBlock& block = BLOCK_OF(k);
    const int at = PART_OF(k);
    const vf w = alpha[k] * T[k];
    rest[k] = fnma(w, value[k], rest[k]);
    store(block.rest + at, rest[k]);
    sum[6] = fma(w, load(block.d_r + at), sum[6]);
    sum[7] = fma(w, load(block.d_g + at), sum[7]);
    sum[8] = fma(w, load(block.d_b + at), sum[8]);
    if (WITH_DEPTH) sum[9] = fma(w, load(block.d_z + at), sum[9]);
  }
  for (int k = 0; k < VECTORS; k++) {
    const vf d_alpha = fnma(rest[k], reciprocal(1.0f - alpha[k]), T[k] * value[k]);
    const vf h = zero_unless(ge(set1(ALPHA_MAX), raw[k]), d_alpha * alpha[k]);
    const vf hx = h * dx[k], hy = h * dy[k];
    sum[0] += h; sum[1] += hx; sum[2] += hy;
    sum[3] = fma(hx, dx[k], sum[3]); sum[4] = fma(hx, dy[k], sum[4]); sum[5] = fma(hy, dy[k], sum[5]);
  }
#undef BLOCK_OF
#undef PART_OF
}

template <bool WITH_DEPTH>
INLINE void backward_tile_of(const Scene* scene, int tile, const Splat* splats, const TileEntry* entries, int64_t count,
                   const Outputs* out, const Gradients* gradients, Slot* slots, uint8_t* slot_used) {
  const Scene& s = *scene;
  const TilePlace place = place_of(s, tile);
  const BlockPixels pixels = first_block();
  BackwardBlock state[BLOCKS + 1];
  memset(&state[BLOCKS], 0, sizeof state[BLOCKS]);  // the partner of a block that is left over
  uint32_t alive = blocks_inside(place);
  for (uint32_t blocks = alive; blocks; blocks &= blocks - 1) {
    const int b = __builtin_ctz(blocks);
    start_block(s, place, b, *out, *gradients, state[b]);
  }
  for (int64_t i = 0; i < count && alive; i++) {
    if (i + 6 < count) {
      __builtin_prefetch(&splats[entries[i + 6].splat]);
      __builtin_prefetch(&slots[entries[i + 6].slot], 1);
    }
    uint32_t blocks = entries[i].blocks & alive;
    if (!blocks) continue;
    const Splat& p = splats[entries[i].splat];
    vf sum[10];
    for (int k = 0; k < 10; k++) sum[k] = set1(0.0f);
    while (blocks) {
      int which[BLOCKS_TOGETHER];
      BackwardBlock* visited[BLOCKS_TOGETHER];
      vf dx[VECTORS], dy[VECTORS];
      bool living[BLOCKS_TOGETHER] = {false};
      for (int j = 0; j < BLOCKS_TOGETHER; j++) {
        const int b = blocks ? __builtin_ctz(blocks) : BLOCKS;
        blocks &= blocks - 1;
        which[j] = b % BLOCKS;
        visited[j] = &state[b];
        for (int part = 0; part < PARTS; part++) {
          dx[j * PARTS + part] = (pixels.x[part] + block_left(place, b)) - p.x;
          dy[j * PARTS + part] = (pixels.y[part] + block_top(place, b)) - p.y;
        }
        if (b == BLOCKS) living[j] = true;
      }
      visit<WITH_DEPTH>(p, visited, dx, dy, sum, living);
      for (int j = 0; j < BLOCKS_TOGETHER; j++)
        if (!living[j]) alive &= ~(1u << which[j]);
    }
    store_sums(sum, slots[entries[i].slot].v);
    slot_used[entries[i].slot] = 1;
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
