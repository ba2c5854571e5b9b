// Forward pass of one tile: front-to-back compositing.
#pragma once
#include "saved.h"

namespace {

// The pixels of the tile as strips: a strip is one vector of a block's pixels and stays in registers while the splats of its
// block are composited. T: transmittance. The last strip, NO_STRIP, has no open pixels; it pads the sequence of work.
enum { STRIPS = BLOCKS * PARTS, NO_STRIP = STRIPS };
struct Canvas {
  struct Strip { vf r, g, b, z, T; } strips[STRIPS + 1];
  vf x[STRIPS + 1], y[STRIPS + 1];
  vm open[STRIPS + 1];
};

INLINE void start_canvas(const TileRectangle& rect, Canvas& canvas) {
  const BlockPixels pixels = first_block();
  const vf zero = set1(0.0f);
  for (int i = 0; i <= STRIPS; i++) canvas.strips[i] = {zero, zero, zero, zero, set1(1.0f)};
  for (int b = 0; b < BLOCKS; b++)
    for (int part = 0; part < PARTS; part++) {
      const int i = b * PARTS + part;
      canvas.x[i] = pixels.x[part] + block_left(rect, b);
      canvas.y[i] = pixels.y[part] + block_top(rect, b);
      canvas.open[i] = lanes_inside(rect, b, part);
    }
  canvas.x[NO_STRIP] = canvas.y[NO_STRIP] = zero;
  canvas.open[NO_STRIP] = first_lanes(0);
}

// The work of a batch in the order of execution: strip by strip, the splats of its block in groups of TOGETHER.
enum { MOST_GROUPS = STRIPS * BATCH / TOGETHER };
struct Groups {
  int count;
  const uint8_t* which;  // positions in the batch
  uint8_t copies[PARTS == 1 ? 1 : (MOST_GROUPS + 2) * TOGETHER];
  uint8_t strip[MOST_GROUPS + 2];
  int end[STRIPS];        // index of the group after the last one of each strip
  int processed[STRIPS];  // splats composited over each strip until it was finished
};

INLINE void group_lists(uint32_t alive, const Canvas& canvas, Batch& batch, Groups& groups) {
  uint8_t* const which = PARTS == 1 ? batch.lists : groups.copies;
  int count = 0;
  for (uint32_t blocks = alive; blocks; blocks &= blocks - 1) {
    const int b = __builtin_ctz(blocks), length = filled(batch.lengths[b]);
    for (int part = 0; part < PARTS; part++) {
      const int i = b * PARTS + part;
      const bool open = PARTS == 1 || any(canvas.open[i]);
      groups.processed[i] = open ? length : 0;
      if (PARTS > 1 && open) memcpy(which + count * TOGETHER, batch.lists + batch.begin[b], length);
      if (open) memset(groups.strip + count, i, length / TOGETHER);
      if (open) count += length / TOGETHER;
      groups.end[i] = count;
    }
  }
  // the groups that look_ahead computes beyond the last one
  memset(which + count * TOGETHER, PADDING, 2 * TOGETHER);
  memset(groups.strip + count, NO_STRIP, 2);
  groups.which = which;
  groups.count = count;
}

// Composites all groups. While the colors of one group are added up, the alphas of the next group and the log2(alpha) of the
// one after that are computed: each of these alone is a chain of dependent instructions, and the processor's out-of-order
// window is too short to overlap them by itself. With SAVE the alphas are saved for the backward pass.
template <bool SAVE>
INLINE void composite(const Splat* const* splats, const TileEntry* next_entries, int64_t next_count, const Splat* all_splats,
                      Canvas& canvas, Groups& groups, uint32_t& alive, float*& saved) {
  vf alpha[TOGETHER], log2_next[TOGETHER], weight[TOGETHER], before[TOGETHER + 1];
  const auto look_ahead = [&](int g) __attribute__((always_inline)) {
    const int i = groups.strip[g], later = groups.strip[g + 1];
    const uint8_t* which = groups.which + g * TOGETHER;
    for (int k = 0; k < TOGETHER; k++)
      alpha[k] = alpha_of(log2_alpha(*splats[which[k]], canvas.x[i], canvas.y[i]), canvas.open[i]);
    for (int k = 0; k < TOGETHER; k++)
      log2_next[k] = log2_alpha(*splats[which[TOGETHER + k]], canvas.x[later], canvas.y[later]);
  };
  look_ahead(0);
  int i = groups.strip[0];
  Canvas::Strip strip = canvas.strips[i];
  for (int g = 0; g < groups.count;) {
    if (g < next_count) __builtin_prefetch(&all_splats[next_entries[g].splat]);
    const uint8_t* which = groups.which + g * TOGETHER;
    before[0] = strip.T;
    vm open = canvas.open[i];
    const bool some_open = pass_splats(open, alpha, weight, before);
    canvas.open[i] = open;
    strip.T = before[TOGETHER];
    const int next = groups.strip[g + 1], later = groups.strip[g + 2];
    const vm next_open = canvas.open[next];
    const vf x = canvas.x[later], y = canvas.y[later];
    for (int k = 0; k < TOGETHER; k++) {
      const Splat& p = *splats[which[k]];
      if (SAVE) stream(saved + k * W, alpha[k]);
      alpha[k] = alpha_of(log2_next[k], next_open);
      strip.r = fma(weight[k], set1(p.r), strip.r);
      strip.g = fma(weight[k], set1(p.g), strip.g);
      strip.b = fma(weight[k], set1(p.b), strip.b);
      strip.z = fma(weight[k], set1(p.depth), strip.z);
      log2_next[k] = log2_alpha(*splats[which[2 * TOGETHER + k]], x, y);
    }
    if (SAVE) saved += TOGETHER * W;
    g++;
    if (next == i && some_open) continue;
    canvas.strips[i] = strip;
    if (!some_open) {
      groups.processed[i] -= (groups.end[i] - g) * TOGETHER;
      bool others = false;
      for (int part = 0; part < PARTS; part++) others |= any(canvas.open[i / PARTS * PARTS + part]);
      if (!others) alive &= ~(1u << i / PARTS);
      if (g < groups.end[i]) look_ahead(g = groups.end[i]);
    }
    i = groups.strip[g];
    strip = canvas.strips[i];
  }
}

// The five output values of a strip's pixels: r, g, b, alpha, depth.
INLINE void output_values(const Scene& s, const Canvas::Strip& v, vf* values) {
  values[0] = fma(v.T, set1(s.background[0]), v.r);
  values[1] = fma(v.T, set1(s.background[1]), v.g);
  values[2] = fma(v.T, set1(s.background[2]), v.b);
  values[3] = 1.0f - v.T;
  values[4] = v.z;
}

// Writes the outputs of the tile. With BYPASS_CACHE tiles that lie wholly in the image are written by streaming stores.
template <bool BYPASS_CACHE>
INLINE void write_canvas(const Scene& s, const TileRectangle& rect, const Canvas& canvas, float* const* planes) {
#if defined(STILLSPLAT_AVX512)
  if (rect.width == TILE_W && rect.height == TILE_H) {
    for (int b = 0; b < BLOCKS; b += 4) {
      vf values[4][5];
      for (int k = 0; k < 4; k++) output_values(s, canvas.strips[b + k], values[k]);
      const int64_t from = (int64_t)(rect.top + b / BLOCKS_X * BLOCK) * s.width + rect.left + b % BLOCKS_X * BLOCK;
      for (int c = 0; c < 5; c++) {
        if (!planes[c]) continue;
        const vf blocks[4] = {values[0][c], values[1][c], values[2][c], values[3][c]};
        vf rows[4];
        blocks_to_rows(blocks, rows);
        for (int r = 0; r < BLOCK; r++)
          BYPASS_CACHE ? stream(planes[c] + from + (int64_t)r * s.width, rows[r])
               : store(planes[c] + from + (int64_t)r * s.width, rows[r]);
      }
    }
    if (BYPASS_CACHE) streamed();
    return;
  }
#endif
  for (uint32_t blocks = blocks_inside(rect); blocks; blocks &= blocks - 1) {
    const int b = __builtin_ctz(blocks);
    float pixels[5][PIXELS] __attribute__((aligned(64)));
    for (int part = 0; part < PARTS; part++) {
      vf values[5];
      output_values(s, canvas.strips[b * PARTS + part], values);
      for (int c = 0; c < 5; c++) store(pixels[c] + part * W, values[c]);
    }
    for (int c = 0; c < 5; c++)
      if (planes[c]) write_block(planes[c], s.width, rect, b, pixels[c]);
  }
}

template <bool SAVE>
INLINE void forward_tile_template(const Scene* scene, int tile, const Splat* splats, const TileEntry* entries, int64_t count,
                            const Outputs* out, Saved saved) {
  const Scene& s = *scene;
  const TileRectangle rect = tile_rectangle(s, tile);
  Canvas canvas;
  Groups groups;
  Batch batch;
  start_batches(batch);
  start_canvas(rect, canvas);
  const int64_t size = (int64_t)s.width * s.height;
  float* const planes[5] = {out->image, out->image + size, out->image + 2 * size, out->alpha, out->depth};
  // training reads the image right afterwards, so it must not bypass the cache
  bool bypass_cache = !SAVE && W == 16;
  for (float* plane : planes) bypass_cache = bypass_cache && s.width % W == 0 && (uintptr_t)plane % (W * sizeof(float)) == 0;
  for (float* plane : planes)
    if (plane && !bypass_cache) prefetch_tile<1>(plane, s.width, rect);
  uint32_t alive = blocks_inside(rect);
  for (int64_t first = 0; first < count && alive; first += BATCH) {
    load_batch(splats, entries, first, count, alive, batch);
    sort_into_blocks(alive, batch);
    const uint32_t listed = alive;
    if (SAVE) append_blocks(saved, listed);
    group_lists(alive, canvas, batch, groups);
    const int64_t next = first + BATCH;
    composite<SAVE>(batch.splats, entries + next, count - next, splats, canvas, groups, alive, saved.alphas);
    for (uint32_t blocks = SAVE ? listed : 0; blocks; blocks &= blocks - 1) {
      const int b = __builtin_ctz(blocks);
      append_list(saved, groups.processed + b * PARTS, batch.lists + batch.begin[b]);
    }
  }
  if (SAVE) append_blocks(saved, 0);
  if (SAVE) streamed();
  bypass_cache ? write_canvas<true>(s, rect, canvas, planes) : write_canvas<false>(s, rect, canvas, planes);
}

void forward_tile(const Scene* scene, int tile, const Splat* splats, const TileEntry* entries, int64_t count,
                  const Outputs* out, Saved saved) {
  if (saved.alphas)
    forward_tile_template<true>(scene, tile, splats, entries, count, out, saved);
  else
    forward_tile_template<false>(scene, tile, splats, entries, count, out, saved);
}

}  // namespace
