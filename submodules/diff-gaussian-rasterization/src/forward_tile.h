// Front-to-back compositing of one tile.
#pragma once
#include "saved.h"

namespace {

// One vector of pixels of a block, kept in registers while the splats go by.
struct Strip { vf r, g, b, z, T; vm open; };

// As many splats at a time as the registers hold.
enum { STEP = W == 16 ? 4 : 2 };

// The number of splats on the list that were looked at, a multiple of TOGETHER. With SAVE their alphas are stored.
template <bool SAVE>
INLINE int composite(const Splat* splats, const uint8_t* list, int count, vf x, vf y, Strip& strip, float* saved) {
  vf r = strip.r, g = strip.g, b = strip.b, z = strip.z, before[STEP + 1];
  vm open = strip.open;
  before[STEP] = strip.T;
  int j = 0;
  for (bool some_open = any(open); j < count && some_open; j += STEP) {
    vf alpha[STEP], passed[STEP];
    before[0] = before[STEP];
    some_open = pass_splats<STEP>(splats, list + j, x, y, open, alpha, passed, before);
    for (int k = 0; k < STEP; k++) {
      const Splat& p = splats[list[j + k]];
      if (SAVE) stream(saved + (j + k) * W, alpha[k]);
      const vf w = alpha[k] * before[k];
      r = fma(w, set1(p.r), r);
      g = fma(w, set1(p.g), g);
      b = fma(w, set1(p.b), b);
      z = fma(w, set1(p.depth), z);
    }
  }
  strip = {r, g, b, z, before[STEP], open};
  for (; j % TOGETHER; j++)
    if (SAVE) stream(saved + j * W, set1(0.0f));
  return j;
}

template <bool SAVE>
INLINE void forward_tile_of(const Scene* scene, int tile, const Splat* splats, const TileEntry* entries, int64_t count,
                            const Outputs* out, Saved saved) {
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
      strips[b][part] = {zero, zero, zero, zero, set1(1.0f), inside};
    }
  for (int64_t first = 0; first < count && alive; first += BATCH) {
    load_batch(splats, entries, first, count, alive, batch);
    sort_into_blocks(alive, batch);
    if (SAVE) note_blocks(saved, alive);
    for (uint32_t blocks = alive; blocks; blocks &= blocks - 1) {
      const int b = __builtin_ctz(blocks);
      const float left = block_left(place, b), top = block_top(place, b);
      bring_near(splats, entries, first + BATCH + b * NEAR_AT_ONCE, count);
      bool open = false;
      int walked[PARTS];
      for (int part = 0; part < PARTS; part++) {
        walked[part] = composite<SAVE>(batch.splats, batch.lists[b], batch.lengths[b], pixels.x[part] + left,
                                       pixels.y[part] + top, strips[b][part], saved.alphas);
        if (SAVE) saved.alphas += walked[part] * W;
        open |= any(strips[b][part].open);
      }
      if (SAVE) note_list(saved, walked, batch.lists[b]);
      if (!open) alive &= ~(1u << b);
    }
  }
  if (SAVE) note_blocks(saved, 0);
  if (SAVE) streamed();
  for (uint32_t blocks = blocks_inside(place); blocks; blocks &= blocks - 1) {
    const int b = __builtin_ctz(blocks);
    float values[5][PIXELS] __attribute__((aligned(64)));
    for (int part = 0; part < PARTS; part++) {
      const Strip& v = strips[b][part];
      const vf T = v.T;
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

void forward_tile(const Scene* scene, int tile, const Splat* splats, const TileEntry* entries, int64_t count,
                  const Outputs* out, Saved saved) {
  if (saved.alphas)
    forward_tile_of<true>(scene, tile, splats, entries, count, out, saved);
  else
    forward_tile_of<false>(scene, tile, splats, entries, count, out, saved);
}

}  // namespace
