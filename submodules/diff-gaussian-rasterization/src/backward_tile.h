// The gradient of one tile's compositing to its splats.
#pragma once
#include "tile.h"

namespace {

// Pixels of a block on the way back: gradients to r, g, b, depth and alpha; the value still to come; transmittance. The
// last two are 0 where a pixel is finished.
struct BackwardBlock {
  float d_r[PIXELS], d_g[PIXELS], d_b[PIXELS], d_z[PIXELS], d_alpha[PIXELS], rest[PIXELS], T[PIXELS];
} __attribute__((aligned(64)));

// False where no pixel of the block is wanted to change, as under a mask: then nothing comes from it.
INLINE bool start_block(const Scene& s, const TilePlace& place, int b, const Outputs& out, const Gradients& g,
                        BackwardBlock& block) {
  const int64_t plane = (int64_t)s.width * s.height;
  float seen[PIXELS] __attribute__((aligned(64)));
  float* slopes[5] = {block.d_r, block.d_g, block.d_b, block.d_z, block.d_alpha};
  const float* given[5] = {g.image, g.image ? g.image + plane : nullptr, g.image ? g.image + 2 * plane : nullptr,
                           g.depth, g.alpha};
  const float* outputs[5] = {out.image, out.image + plane, out.image + 2 * plane, out.depth, out.alpha};
  vf total[PARTS];
  for (int part = 0; part < PARTS; part++) total[part] = set1(0.0f);
  bool wanted = false;
  for (int k = 0; k < 5; k++) {
    if (!given[k]) { memset(slopes[k], 0, PIXELS * sizeof(float)); continue; }
    read_block(given[k], s.width, place, b, slopes[k]);
    read_block(outputs[k], s.width, place, b, seen);
    for (int part = 0; part < PARTS; part++) {
      const vf slope = load(slopes[k] + part * W);
      wanted |= any(not_zero(slope));
      total[part] = fma(slope, load(seen + part * W), total[part]);
    }
  }
  for (int part = 0; part < PARTS; part++) {
    const vm inside = lanes_inside(place, b, part);
    store(block.rest + part * W, zero_unless(inside, total[part]));
    store(block.T + part * W, zero_unless(inside, set1(1.0f)));
  }
  return wanted;
}

// The sums of TOGETHER splats over the pixels of one vector, added to each one's own sums. A piece of a vector is a row
// of four pixels; transposed, it is one pixel of the row for four splats, so that the sums over x are plain additions.
// h: dL/dlog(alpha), w: the splats' weights; both are used up.
template <bool WITH_DEPTH>
INLINE void add_sums(vf* h, vf* w, const vf* dx, const vf* dy, const vf spread[4][4], const uint8_t* which,
                     Slot* sums) {
  static_assert(TOGETHER == 4 && BLOCK == 4, "pieces of four");
  vf place = set1(0.0f);  // of each splat's own pixel in the row, from the row's middle
  for (int l = 0; l < W; l++) place[l] = (float)(l % 4) - 1.5f;
  const vf x = diagonal_of_pieces(dx) - place, y = diagonal_of_pieces(dy);  // from the splat to the row's middle
  transpose_pieces(h);
  const vf outer = h[0] + h[3], inner = h[1] + h[2], outer_slope = h[3] - h[0], inner_slope = h[2] - h[1];
  const vf h_0 = outer + inner;
  const vf middle_x = fma(outer_slope, set1(1.5f), inner_slope * set1(0.5f));
  const vf middle_xx = fma(outer, set1(2.25f), inner * set1(0.25f));
  const vf h_x = fma(x, h_0, middle_x), h_xx = fma(x, middle_x + h_x, middle_xx);
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

// One vector of a block's pixels, front to back again. With v = color . dL/dcolor + ... the value of a splat to the loss
// at a pixel, dL/dalpha_i = T_i v_i - (sum of w_j v_j behind i, and of the background) / (1 - alpha_i); what is behind
// is the total, known from the outputs, minus what has been passed. With w_i = alpha_i T_i that makes alpha_i dL/dalpha_i
// what is not passed before i, minus what is not passed after it / (1 - alpha_i). False when no pixel goes on.
template <bool WITH_DEPTH>
INLINE bool walk(const Splat* splats, const uint8_t* list, int count, vf x, vf y, BackwardBlock& block, int at,
                 Slot* sums) {
  vf T = load(block.T + at), rest = load(block.rest + at);
  const vf d_r = load(block.d_r + at), d_g = load(block.d_g + at), d_b = load(block.d_b + at);
  vm open = gt(T, set1(0.0f));
  if (!any(open)) return false;
  vf spread[4][4];
  spread_pieces(d_r, spread[0]);
  spread_pieces(d_g, spread[1]);
  spread_pieces(d_b, spread[2]);
  if (WITH_DEPTH) spread_pieces(load(block.d_z + at), spread[3]);
  for (int j = 0; j < count; j += TOGETHER) {
    const uint8_t* which = list + j;
    vf dx[TOGETHER], dy[TOGETHER], e[TOGETHER], raw[TOGETHER], alpha[TOGETHER], passed[TOGETHER], before[TOGETHER + 1];
    vf value[TOGETHER], w[TOGETHER], left[TOGETHER], behind[TOGETHER], h[TOGETHER];
    log2_alphas<TOGETHER>(splats, which, x, y, dx, dy, e);
    alphas<TOGETHER>(e, raw, alpha);
    for (int k = 0; k < TOGETHER; k++) passed[k] = 1.0f - alpha[k];
    for (int k = 0; k < TOGETHER; k++) {
      const Splat& p = splats[which[k]];
      value[k] = set1(p.b) * d_b;
      if (WITH_DEPTH) value[k] = fma(set1(p.depth), load(block.d_z + at), value[k] + load(block.d_alpha + at));
      value[k] = fma(set1(p.r), d_r, fma(set1(p.g), d_g, value[k]));
    }
    before[0] = T;
    for (int k = 0; k < TOGETHER; k++) before[k + 1] = before[k] * passed[k];
    if (any(both(open, gt(set1(TRANSMITTANCE_STOP), before[TOGETHER])))) {
      for (int k = 0; k < TOGETHER; k++) {  // some pixel stops before one of these
        const vf next = T * passed[k];
        const vm keep = ge(next, set1(TRANSMITTANCE_STOP));
        before[k] = zero_unless(keep, T);
        left[k] = zero_unless(keep, rest);
        T = zero_unless(keep, next);
        w[k] = alpha[k] * before[k];
        rest = behind[k] = fnma(w[k], value[k], left[k]);
      }
      open = gt(T, set1(0.0f));
    } else {
      T = before[TOGETHER];
      for (int k = 0; k < TOGETHER; k++) {
        w[k] = alpha[k] * before[k];
        left[k] = rest;
        rest = behind[k] = fnma(w[k], value[k], rest);
      }
    }
    for (int k = 0; k < TOGETHER; k++)
      h[k] = zero_unless(both(ge(e[k], set1(LOG2_ALPHA_CUT)), ge(set1(ALPHA_MAX), raw[k])),
                         fnma(behind[k], reciprocal(passed[k]), left[k]));
    add_sums<WITH_DEPTH>(h, w, dx, dy, spread, which, sums);
    if (!any(open)) break;
  }
  store(block.T + at, T);
  store(block.rest + at, rest);
  return any(open);
}

template <bool WITH_DEPTH>
INLINE void backward_tile_of(const Scene* scene, int tile, const Splat* splats, const TileEntry* entries, int64_t count,
                             const Outputs* out, const Gradients* gradients, Slot* slots, int32_t first_slot,
                             int32_t* slot_of_pair) {
  const Scene& s = *scene;
  const TilePlace place = place_of(s, tile);
  const BlockPixels pixels = first_block();
  BackwardBlock state[BLOCKS];
  Batch batch;
  Slot sums[BATCH + 1];
  start_batches(batch);
  memset(&sums[NOBODY], 0, sizeof(Slot));
  const int64_t plane = (int64_t)s.width * s.height;
  for (int channel = 0; channel < 3 && gradients->image; channel++) {
    bring_near<0>(gradients->image + channel * plane, s.width, place);
    bring_near<0>(out->image + channel * plane, s.width, place);
  }
  for (int64_t k = 0; k < count && k < 32; k++) __builtin_prefetch(&splats[entries[k].splat]);
  uint32_t alive = blocks_inside(place);
  for (uint32_t blocks = alive; blocks; blocks &= blocks - 1) {
    const int b = __builtin_ctz(blocks);
    if (!start_block(s, place, b, *out, *gradients, state[b])) alive &= ~(1u << b);
  }
  for (int64_t first = 0; first < count && alive; first += BATCH) {
    load_batch(splats, entries, first, count, alive, batch);
    memset(sums, 0, (size_t)batch.size * sizeof(Slot));
    for (uint32_t blocks = alive; blocks; blocks &= blocks - 1) {
      const int b = __builtin_ctz(blocks);
      const float left = block_left(place, b), top = block_top(place, b);
      bring_near(splats, entries, first + BATCH + b * NEAR_AT_ONCE, count);
      bool open = false;
      for (int part = 0; part < PARTS; part++)
        open |= walk<WITH_DEPTH>(batch.splats, batch.lists[b], batch.lengths[b], pixels.x[part] + left,
                                 pixels.y[part] + top, state[b], part * W, sums);
      if (!open) alive &= ~(1u << b);
    }
    for (int j = 0; j < batch.size; j++) {
      if (!batch.touched[j]) continue;
      slots[first + j] = sums[j];
      slot_of_pair[entries[first + j].pair] = first_slot + (int32_t)(first + j);
    }
  }
}

void backward_tile(const Scene* scene, int tile, const Splat* splats, const TileEntry* entries, int64_t count,
                   const Outputs* out, const Gradients* gradients, Slot* slots, int32_t first_slot,
                   int32_t* slot_of_pair) {
  if (gradients->alpha || gradients->depth)
    backward_tile_of<true>(scene, tile, splats, entries, count, out, gradients, slots, first_slot, slot_of_pair);
  else
    backward_tile_of<false>(scene, tile, splats, entries, count, out, gradients, slots, first_slot, slot_of_pair);
}

}  // namespace
