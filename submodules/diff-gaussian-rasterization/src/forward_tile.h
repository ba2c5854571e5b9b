// Front-to-back compositing of one tile.
#pragma once
#include "tile.h"

namespace {

enum { BATCH = 128 };

// One vector of pixels of a block, kept in registers while the splats go by. A pixel that is finished has T = 0 and its
// transmittance in `left`.
struct Strip { vf r, g, b, z, T, left; vm open; };

// `TOGETHER` splats at a time: their alphas do not depend on each other, and one alone is a chain of some twenty
// instructions, each of which waits for the one before.
enum { TOGETHER = W == 16 ? 4 : 2 };

INLINE void composite(const Splat* splats, const uint8_t* list, int count, vf x, vf y, Strip& strip) {
  vf r = strip.r, g = strip.g, b = strip.b, z = strip.z, T = strip.T;
  vm open = strip.open;
  for (int j = 0; j < count; j += TOGETHER) {
    vf e[TOGETHER], alpha[TOGETHER], passed[TOGETHER], before[TOGETHER + 1];
    log2_alphas<TOGETHER>(splats, list + j, x, y, e);
    alphas<TOGETHER>(e, alpha);
    for (int k = 0; k < TOGETHER; k++) passed[k] = 1.0f - alpha[k];
    before[0] = T;
    for (int k = 0; k < TOGETHER; k++) before[k + 1] = before[k] * passed[k];
    if (any(both(open, gt(set1(TRANSMITTANCE_STOP), before[TOGETHER])))) {
      for (int k = 0; k < TOGETHER; k++) {  // some pixel stops before one of these
        const vf next = T * passed[k];
        const vm keep = ge(next, set1(TRANSMITTANCE_STOP));
        strip.left = select(but_not(open, keep), T, strip.left);
        open = both(open, keep);
        before[k] = zero_unless(keep, T);
        T = zero_unless(keep, next);
      }
    } else {
      T = before[TOGETHER];
    }
    for (int k = 0; k < TOGETHER; k++) {
      const Splat& p = splats[list[j + k]];
      const vf w = alpha[k] * before[k];
      r = fma(w, set1(p.r), r);
      g = fma(w, set1(p.g), g);
      b = fma(w, set1(p.b), b);
      z = fma(w, set1(p.z), z);
    }
    if (!any(open)) break;
  }
  strip.r = r; strip.g = g; strip.b = b; strip.z = z; strip.T = T; strip.open = open;
}

// For each block that is alive, the places in the batch of the splats that touch it, filled up to a multiple of TOGETHER.
INLINE void sort_into_blocks(const uint32_t* touched, int size, uint32_t alive, uint8_t lists[][BATCH + 16],
                             uint8_t* lengths) {
#if defined(STILLSPLAT_AVX512)
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (; alive; alive &= alive - 1) {
    const int b = __builtin_ctz(alive);
    const __m512i bit = _mm512_set1_epi32((int)(1u << b));
    int length = 0;
    for (int j = 0; j < size; j += 16) {
      const __mmask16 those = _mm512_test_epi32_mask(_mm512_loadu_si512(touched + j), bit);
      const __m512i places = _mm512_maskz_compress_epi32(those, _mm512_add_epi32(lanes, _mm512_set1_epi32(j)));
      _mm_storeu_si128((__m128i*)(lists[b] + length), _mm512_cvtepi32_epi8(places));
      length += __builtin_popcount(those);
    }
    lengths[b] = (uint8_t)length;
  }
#else
  for (int b = 0; b < BLOCKS; b++) lengths[b] = 0;
  for (int j = 0; j < size; j++)
    for (uint32_t blocks = touched[j]; blocks; blocks &= blocks - 1) {
      const int b = __builtin_ctz(blocks);
      lists[b][lengths[b]++] = (uint8_t)j;
    }
#endif
}

// Splats come in batches that fit the first cache. Each batch is sorted into a list for every block, so that a block's
// pixels stay in registers.
void forward_tile(const Scene* scene, int tile, const Splat* splats, const TileEntry* entries, int64_t count,
                  const Outputs* out) {
  const Scene& s = *scene;
  const TilePlace place = place_of(s, tile);
  const BlockPixels pixels = first_block();
  Strip strips[BLOCKS][PARTS];
  Splat batch[BATCH + 1];
  uint8_t lists[BLOCKS][BATCH + 16], lengths[BLOCKS];
  uint32_t touched[BATCH];
  memset(&batch[BATCH], 0, sizeof(Splat));
  batch[BATCH].log2_opacity = -100.0f;  // fills lists up and is never seen
  uint32_t alive = blocks_inside(place);
  for (int b = 0; b < BLOCKS; b++)
    for (int part = 0; part < PARTS; part++) {
      const vf zero = set1(0.0f);
      const vm inside = lanes_inside(place, b, part);
      strips[b][part] = {zero, zero, zero, zero, zero_unless(inside, set1(1.0f)), zero, inside};
    }
  for (int64_t first = 0; first < count && alive; first += BATCH) {
    const int size = (int)(count - first < BATCH ? count - first : BATCH);
    for (int j = 0; j < size; j++) {
      if (first + j + 12 < count) __builtin_prefetch(&splats[entries[first + j + 12].splat]);
      touched[j] = entries[first + j].blocks & alive;
      batch[j] = splats[entries[first + j].splat];
    }
    for (int j = size; j % 16; j++) touched[j] = 0;
    sort_into_blocks(touched, size, alive, lists, lengths);
    for (uint32_t blocks = alive; blocks; blocks &= blocks - 1) {
      const int b = __builtin_ctz(blocks);
      const float left = block_left(place, b), top = block_top(place, b);
      memset(lists[b] + lengths[b], BATCH, TOGETHER);
      bool open = false;
      for (int part = 0; part < PARTS; part++) {
        composite(batch, lists[b], lengths[b], pixels.x[part] + left, pixels.y[part] + top, strips[b][part]);
        open |= any(strips[b][part].open);
      }
      if (!open) alive &= ~(1u << b);
    }
  }
  const int64_t plane = (int64_t)s.width * s.height;
  for (uint32_t blocks = blocks_inside(place); blocks; blocks &= blocks - 1) {
    const int b = __builtin_ctz(blocks);
    float values[5][PIXELS] __attribute__((aligned(64)));
    for (int part = 0; part < PARTS; part++) {
      const Strip& v = strips[b][part];
      const vf T = v.T + v.left;  // one of them is 0
      store(values[0] + part * W, fma(T, set1(s.background[0]), v.r));
      store(values[1] + part * W, fma(T, set1(s.background[1]), v.g));
      store(values[2] + part * W, fma(T, set1(s.background[2]), v.b));
      store(values[3] + part * W, 1.0f - T);
      store(values[4] + part * W, v.z);
    }
    for (int channel = 0; channel < 3; channel++)
      write_block(out->image + channel * plane, s.width, place, b, values[channel]);
    if (out->alpha) write_block(out->alpha, s.width, place, b, values[3]);
    if (out->depth) write_block(out->depth, s.width, place, b, values[4]);
  }
}

}  // namespace
