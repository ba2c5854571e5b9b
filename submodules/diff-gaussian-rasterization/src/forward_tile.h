// Front-to-back compositing of one tile.
#pragma once
#include "tile.h"

namespace {

// One vector of pixels of a block, kept in registers while the splats go by. A pixel that is finished has T = 0 and its
// transmittance in `left`.
struct Strip { vf r, g, b, z, T, left; vm open; };

// `STEP` splats at a time: their alphas do not depend on each other, and one alone is a chain of some twenty
// instructions, each of which waits for the one before.
enum { STEP = W == 16 ? 4 : 2 };

INLINE void composite(const Splat* splats, const uint8_t* list, int count, vf x, vf y, Strip& strip) {
  vf r = strip.r, g = strip.g, b = strip.b, z = strip.z, T = strip.T;
  vm open = strip.open;
  for (int j = 0; j < count; j += STEP) {
    vf dx[STEP], dy[STEP], e[STEP], raw[STEP], alpha[STEP], passed[STEP], before[STEP + 1];
    log2_alphas<STEP>(splats, list + j, x, y, dx, dy, e);
    alphas<STEP>(e, raw, alpha);
    for (int k = 0; k < STEP; k++) passed[k] = 1.0f - alpha[k];
    before[0] = T;
    for (int k = 0; k < STEP; k++) before[k + 1] = before[k] * passed[k];
    if (any(both(open, gt(set1(TRANSMITTANCE_STOP), before[STEP])))) {
      for (int k = 0; k < STEP; k++) {  // some pixel stops before one of these
        const vf next = T * passed[k];
        const vm keep = ge(next, set1(TRANSMITTANCE_STOP));
        strip.left = select(but_not(open, keep), T, strip.left);
        open = both(open, keep);
        before[k] = zero_unless(keep, T);
        T = zero_unless(keep, next);
      }
    } else {
      T = before[STEP];
    }
    for (int k = 0; k < STEP; k++) {
      const Splat& p = splats[list[j + k]];
      const vf w = alpha[k] * before[k];
      r = fma(w, set1(p.r), r);
      g = fma(w, set1(p.g), g);
      b = fma(w, set1(p.b), b);
      z = fma(w, set1(p.depth), z);
    }
    if (!any(open)) break;
  }
  strip.r = r; strip.g = g; strip.b = b; strip.z = z; strip.T = T; strip.open = open;
}

void forward_tile(const Scene* scene, int tile, const Splat* splats, const TileEntry* entries, int64_t count,
                  const Outputs* out) {
  const Scene& s = *scene;
  const TilePlace place = place_of(s, tile);
  const BlockPixels pixels = first_block();
  Strip strips[BLOCKS][PARTS];
  Batch batch;
  start_batches(batch);
  const int64_t plane = (int64_t)s.width * s.height;
  for (int channel = 0; channel < 3; channel++) bring_near<1>(out->image + channel * plane, s.width, place);
  if (out->alpha) bring_near<1>(out->alpha, s.width, place);
  if (out->depth) bring_near<1>(out->depth, s.width, place);
  uint32_t alive = blocks_inside(place);
  for (int b = 0; b < BLOCKS; b++)
    for (int part = 0; part < PARTS; part++) {
      const vf zero = set1(0.0f);
      const vm inside = lanes_inside(place, b, part);
      strips[b][part] = {zero, zero, zero, zero, zero_unless(inside, set1(1.0f)), zero, inside};
    }
  for (int64_t first = 0; first < count && alive; first += BATCH) {
    load_batch(splats, entries, first, count, alive, batch);
    for (uint32_t blocks = alive; blocks; blocks &= blocks - 1) {
      const int b = __builtin_ctz(blocks);
      const float left = block_left(place, b), top = block_top(place, b);
      bring_near(splats, entries, first + BATCH + b * NEAR_AT_ONCE, count);
      bool open = false;
      for (int part = 0; part < PARTS; part++) {
        composite(batch.splats, batch.lists[b], batch.lengths[b], pixels.x[part] + left, pixels.y[part] + top,
                  strips[b][part]);
        open |= any(strips[b][part].open);
      }
      if (!open) alive &= ~(1u << b);
    }
  }
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
