// Backward pass of one tile: from the gradients of its pixels to those of its splats.
#pragma once
#include "saved.h"

namespace {

// The pixels of a block: gradients to r, g, b, depth and alpha; `remaining`, the part of the sum that the splats not yet
// processed and the background contribute (see backward_strip); transmittance.
struct BackwardBlock {
  float d_r[PIXELS], d_g[PIXELS], d_b[PIXELS], d_z[PIXELS], d_alpha[PIXELS], remaining[PIXELS], T[PIXELS];
  vm open[PARTS];
} __attribute__((aligned(64)));

// Loads a block. Returns false if all its gradients are 0, as under a mask; the block then contributes nothing.
INLINE bool start_block(const Scene& s, const TileRectangle& rect, int b, const Outputs& out, const Gradients& g,
                        BackwardBlock& block) {
  const int64_t plane = (int64_t)s.width * s.height;
  float* loaded[5] = {block.d_r, block.d_g, block.d_b, block.d_z, block.d_alpha};
  const float* given[5] = {g.image, g.image ? g.image + plane : nullptr, g.image ? g.image + 2 * plane : nullptr,
                           g.depth, g.alpha};
  const float* outputs[5] = {out.image, out.image + plane, out.image + 2 * plane, out.depth, out.alpha};
  bool has_gradient = false;
  for (int part = 0; part < PARTS; part++) {
    vf total = set1(0.0f);
    for (int k = 0; k < 5; k++) {
      const vf gradient = given[k] ? read_part(given[k], s.width, rect, b, part) : set1(0.0f);
      store(loaded[k] + part * W, gradient);
      if (!given[k]) continue;
      has_gradient |= any(not_zero(gradient));
      total = fma(gradient, read_part(outputs[k], s.width, rect, b, part), total);
    }
    store(block.remaining + part * W, total);
    store(block.T + part * W, set1(1.0f));
    block.open[part] = lanes_inside(rect, b, part);
  }
  return has_gradient;
}

// Adds the gradient sums of TOGETHER splats over the pixels of one vector to the slots of the splats. A piece of a vector is
// a row of four pixels; after the transposition it is one pixel of the row for four splats, so that sums over x are plain
// additions. h: dL/dlog(alpha), w: the weights of the splats; both are overwritten.
template <bool WITH_DEPTH>
INLINE void add_sums(vf* h, vf* w, const Splat* const* splats, vf pixel_x, vf pixel_y, const vf spread[4][4],
                     const uint8_t* which, Slot* sums) {
  static_assert(TOGETHER == 4 && BLOCK == 4, "pieces of four");
  const float* const centers[4] = {&splats[which[0]]->x, &splats[which[1]]->x, &splats[which[2]]->x, &splats[which[3]]->x};
  vf offset = set1(0.0f);  // x of each pixel relative to the middle of its row of four
  for (int l = 0; l < W; l++) offset[l] = (float)(l % 4) - 1.5f;
  vf x, y;  // from the splat to the middle of the row
  pairs_to_pieces(centers, x, y);
  x = (pixel_x - x) - offset;
  y = pixel_y - y;
  transpose_pieces(h);
  const vf outer = h[0] + h[3], inner = h[1] + h[2], outer_difference = h[3] - h[0], inner_difference = h[2] - h[1];
  const vf h_0 = outer + inner;
  const vf own_x = fma(outer_difference, set1(1.5f), inner_difference * set1(0.5f));
  const vf own_xx = fma(outer, set1(2.25f), inner * set1(0.25f));
  const vf h_x = fma(x, h_0, own_x), h_xx = fma(x, own_x + h_x, own_xx);
  vf fields[4][4];  // [k][q] is number 4 q + k of a slot
  for (int k = 0; k < 4; k++)
    for (int q = 0; q < 4; q++) fields[k][q] = set1(0.0f);
  fields[0][0] = h_0; fields[0][1] = y * h_0; fields[0][2] = y * fields[0][1]; fields[0][3] = h_x;
  fields[1][0] = y * h_x; fields[1][1] = h_xx;
  transpose_pieces(w);
  vf* const channels[4] = {&fields[1][2], &fields[1][3], &fields[2][0], &fields[2][1]};
  for (int c = 0; c < (WITH_DEPTH ? 4 : 3); c++) {
    const vf low = fma(w[1], spread[c][1], w[0] * spread[c][0]), high = fma(w[3], spread[c][3], w[2] * spread[c][2]);
    *channels[c] = low + high;
  }
  for (int part = 0; part < 16 / W; part++) {
    vf rows[4];
    for (int k = 0; k < 2; k++) rows[k] = sum_pieces(&fields[k][part * (W / 4)]);
    rows[2] = sum_pieces_of_two(&fields[2][part * (W / 4)]);
    rows[3] = set1(0.0f);
    transpose_pieces(rows);
    for (int k = 0; k < TOGETHER; k++) {
      float* to = sums[which[k]].v + part * W;
      store(to, load(to) + rows[k]);
    }
  }
}

// One strip (a vector of a block's pixels), front to back. Let v_i = color_i . dL/dcolor + depth_i dL/ddepth + dL/dalpha,
// w_i = alpha_i T_i, and R_i the sum of w_j v_j over the splats j behind i and the background. Then
// dL/dalpha_i = T_i v_i - R_i / (1 - alpha_i), hence alpha_i dL/dalpha_i = R_(i-1) - R_i / (1 - alpha_i). R before the first
// splat is the sum over all, known from the outputs; `remaining` is the current R. With SAVED the alphas are read from
// `saved`; otherwise they are computed again, until no pixel is open.
template <bool WITH_DEPTH, bool SAVED>
INLINE void backward_strip(const Splat* const* splats, const uint8_t* list, int count, const float* saved, vf x, vf y, BackwardBlock& block,
                 int part, Slot* sums) {
  const int at = part * W;
  vf remaining = load(block.remaining + at), before[TOGETHER + 1];
  vm open = block.open[part];
  const vf d_r = load(block.d_r + at), d_g = load(block.d_g + at), d_b = load(block.d_b + at);
  vf spread[4][4];
  spread_pieces(d_r, spread[0]);
  spread_pieces(d_g, spread[1]);
  spread_pieces(d_b, spread[2]);
  if (WITH_DEPTH) spread_pieces(load(block.d_z + at), spread[3]);
  before[TOGETHER] = load(block.T + at);
  bool some_open = true;
  for (int j = 0; j < count && some_open; j += TOGETHER) {
    const uint8_t* which = list + j;
    vf alpha[TOGETHER], value[TOGETHER], w[TOGETHER], remaining_before[TOGETHER], remaining_after[TOGETHER], h[TOGETHER];
    before[0] = before[TOGETHER];
    if (SAVED) {
      for (int k = 0; k < TOGETHER; k++) alpha[k] = load(saved + (j + k) * W);
      for (int k = 0; k < TOGETHER; k++) {
        w[k] = alpha[k] * before[k];
        before[k + 1] = before[k] - w[k];
      }
    } else {
      for (int k = 0; k < TOGETHER; k++) alpha[k] = alpha_of(log2_alpha(*splats[which[k]], x, y), open);
      some_open = pass_splats(open, alpha, w, before);
    }
    for (int k = 0; k < TOGETHER; k++) {
      const Splat& p = *splats[which[k]];
      value[k] = set1(p.b) * d_b;
      if (WITH_DEPTH) value[k] = fma(set1(p.depth), load(block.d_z + at), value[k] + load(block.d_alpha + at));
      value[k] = fma(set1(p.r), d_r, fma(set1(p.g), d_g, value[k]));
    }
    for (int k = 0; k < TOGETHER; k++) {
      remaining_before[k] = remaining;
      remaining = remaining_after[k] = fnma(w[k], value[k], remaining);
    }
    for (int k = 0; k < TOGETHER; k++)  // a clamped alpha has no gradient; where alpha is 0, so is the difference
      h[k] = zero_unless(gt(set1(ALPHA_MAX), alpha[k]), fnma(remaining_after[k], reciprocal(1.0f - alpha[k]), remaining_before[k]));
    add_sums<WITH_DEPTH>(h, w, splats, x, y, spread, which, sums);
  }
  store(block.T + at, before[TOGETHER]);
  store(block.remaining + at, remaining);
  block.open[part] = open;
}

// Writes a slot by streaming stores: slots are not read soon, and successive ones lie far apart.
INLINE void store_slot(Slot& to, const Slot& from) {
  for (int part = 0; part < 16 / W; part++) stream(to.v + part * W, load(from.v + part * W));
}

template <bool WITH_DEPTH, bool SAVED>
void backward_tile_template(const Scene* scene, int tile, const Splat* splats, const TileEntry* entries, int64_t count,
                      const Outputs* out, const Gradients* gradients, Saved saved, Slot* slots) {
  const Scene& s = *scene;
  const TileRectangle rect = tile_rectangle(s, tile);
  const BlockPixels pixels = first_block();
  BackwardBlock state[BLOCKS];
  Batch batch;
  Slot sums[BATCH + 1];
  start_batches(batch);
  memset(&sums[PADDING], 0, sizeof(Slot));
  const int64_t plane = (int64_t)s.width * s.height;
  for (int channel = 0; channel < 3 && gradients->image; channel++) {
    prefetch_tile<0>(gradients->image + channel * plane, s.width, rect);
    prefetch_tile<0>(out->image + channel * plane, s.width, rect);
  }
  uint32_t alive = blocks_inside(rect);
  for (uint32_t blocks = alive; blocks; blocks &= blocks - 1) {
    const int b = __builtin_ctz(blocks);
    prefetch_splats(splats, entries, b * PREFETCH_AT_ONCE, count);
    if (!start_block(s, rect, b, *out, *gradients, state[b])) alive &= ~(1u << b);
  }
  const Slot none = {};
  int64_t first = 0;
  for (; first < count && alive; first += BATCH) {
    const uint32_t listed = SAVED ? read_blocks(saved) : alive;
    if (SAVED && !listed) break;
    load_batch(splats, entries, first, count, alive & listed, batch);
    if (!SAVED) sort_into_blocks(alive, batch);
    memset(sums, 0, (size_t)batch.size * sizeof(Slot));
    for (uint32_t blocks = listed; blocks; blocks &= blocks - 1) {
      const int b = __builtin_ctz(blocks);
      const float left = block_left(rect, b), top = block_top(rect, b);
      prefetch_splats(splats, entries, first + BATCH + b * PREFETCH_AT_ONCE, count);
      int processed[PARTS];
      const uint8_t* list = SAVED ? read_list(saved, processed) : batch.lists + batch.begin[b];
      bool open = false;
      for (int part = 0; part < PARTS; part++) {
        const float* alphas = saved.alphas;
        if (SAVED) saved.alphas += processed[part] * W;
        if (SAVED ? !(alive >> b & 1) : !any(state[b].open[part])) continue;
        backward_strip<WITH_DEPTH, SAVED>(batch.splats, list, SAVED ? processed[part] : batch.lengths[b], alphas,
                               pixels.x[part] + left, pixels.y[part] + top, state[b], part, sums);
        open |= any(state[b].open[part]);
      }
      if (!SAVED && !open) alive &= ~(1u << b);
    }
    for (int j = 0; j < batch.size; j++) store_slot(slots[entries[first + j].pair], sums[j]);
  }
  for (; first < count; first++) store_slot(slots[entries[first].pair], none);
  streamed();
}

void backward_tile(const Scene* scene, int tile, const Splat* splats, const TileEntry* entries, int64_t count,
                   const Outputs* out, const Gradients* gradients, Saved saved, Slot* slots) {
  const bool with_depth = gradients->alpha || gradients->depth;
  const auto run = with_depth ? saved.alphas ? backward_tile_template<true, true> : backward_tile_template<true, false>
                              : saved.alphas ? backward_tile_template<false, true> : backward_tile_template<false, false>;
  run(scene, tile, splats, entries, count, out, gradients, saved, slots);
}

}  // namespace
