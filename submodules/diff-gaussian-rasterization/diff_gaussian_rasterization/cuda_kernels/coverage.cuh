// Coverage: exactly which tiles each splat touches, in the order of depth.
#pragma once
#include "projection.cuh"

// The ellipse where alpha is 1/255, prepared for the computation of its extent in rows of tiles. Its boundary,
// x(y) = (-B y +- sqrt(4 A E - (4 A C - B^2) y^2)) / 2 A, is extreme at the ellipse's leftmost and rightmost points, whose
// y are clamped to the pixel centers of the row. E = log2_opacity - log2(1/255).
struct Ellipse {
  float x, y, x0, x1, y0, y1;  // center; first and last pixel of the extent, clipped to the image
  float half_height, y_right, four_A_E, discriminant, half_B_by_A, inv_2A;
  int first_row, last_row;
};

__device__ __forceinline__ Ellipse make_ellipse(const Frame& f, const Splat& s) {
  Ellipse e;
  e.x = s.x;
  e.y = s.y;
  e.x0 = fmaxf(ceilf(s.x - s.half_width), 0.0f);
  e.x1 = fminf(floorf(s.x + s.half_width), f.width - 1.0f);
  e.y0 = fmaxf(ceilf(s.y - s.half_height), 0.0f);
  e.y1 = fminf(floorf(s.y + s.half_height), f.height - 1.0f);
  e.first_row = (int)e.y0 / TILE;
  e.last_row = (int)e.y1 / TILE;
  const float A = -s.A, B = -s.B, C = -s.C;
  const float E = fmaf(s.log2_opacity - LOG2_ALPHA_CUT, 1.00001f, 1e-5f);
  e.half_height = s.half_height;
  e.y_right = -0.5f * B * s.half_width / C;
  e.four_A_E = 4.0f * A * E;
  // from half_width^2 = 4 C E / (4 A C - B^2), which avoids cancellation for needles
  e.discriminant = 4.0f * C * E / (s.half_width * s.half_width);
  e.half_B_by_A = 0.5f * B / A;
  e.inv_2A = 0.5f / A;
  return e;
}

// First and last column of tiles that the ellipse touches in a row of tiles; first > last if it touches none.
__device__ __forceinline__ void tile_columns(const Ellipse& e, int row, int& first, int& last) {
  const float low = fmaxf((float)(row * TILE), e.y0) - e.y, high = fminf((float)(row * TILE + TILE - 1), e.y1) - e.y;
  first = 0;
  last = -1;
  if (!(low <= high)) return;
  const float at_right = clamp(clamp(e.y_right, low, high), -e.half_height, e.half_height);
  const float at_left = clamp(clamp(-e.y_right, low, high), -e.half_height, e.half_height);
  const float root_right = sqrtf(fmaxf(fmaf(-e.discriminant * at_right, at_right, e.four_A_E), 0.0f));
  const float root_left = sqrtf(fmaxf(fmaf(-e.discriminant * at_left, at_left, e.four_A_E), 0.0f));
  // a margin of a hundredth of a pixel for rounding errors
  const float right = e.x + (root_right * e.inv_2A - e.half_B_by_A * at_right) + 0.01f;
  const float left = e.x - (root_left * e.inv_2A + e.half_B_by_A * at_left) - 0.01f;
  const float from = fmaxf(ceilf(left), e.x0), to = fminf(floorf(right), e.x1);
  if (!(from <= to)) return;
  first = (int)from / TILE;
  last = (int)to / TILE;
}

__device__ __forceinline__ void write_pairs(const Frame& f, uint32 at, int row, int first, int last, uint32 id,
                                            uint32 (*histogram)[DIGITS]) {
  for (int column = first; column <= last; column++, at++) {
    if (at >= f.pair_capacity) return;
    const uint32 tile = (uint32)(row * f.tiles_x + column);
    f.tile_keys[at] = tile;
    f.tile_ids[at] = id;
    for (int pass = 0; pass < f.tile_passes; pass++) atomicAdd(&histogram[pass][(tile >> (8 * pass)) % DIGITS], 1u);
  }
}

// Writes the (tile, Gaussian) pairs of all visible splats in the order of depth. Pairs beyond the capacity are counted but not
// written.
extern "C" __global__ void __launch_bounds__(GAUSSIAN_THREADS) emit_pairs(const Frame f) {
  enum {
    ALONE = 24,     // the pairs of a splat with more pairs are written by the whole warp
    MOST = 1 << 22  // pairs of a splat, so that sums over a block do not overflow; no image has more tiles (MOST_TILES)
  };
  __shared__ uint32 scratch[8], block_shared, base_shared, histogram[MAX_PASSES][DIGITS];
  const uint32 block = take_ticket(&f.counters->emit_ticket, &block_shared);
  const uint32 visible = f.counters->visible, lane = lane_index();
  if (block * GAUSSIAN_THREADS >= visible) return;
  const uint32 i = block * GAUSSIAN_THREADS + threadIdx.x;
  for (int pass = 0; pass < f.tile_passes; pass++) histogram[pass][threadIdx.x] = 0;
  Ellipse ellipse;
  ellipse.first_row = 0;
  ellipse.last_row = -1;
  uint32 id = 0, count = 0;
  if (i < visible) {
    id = f.depth_ids[i];
    ellipse = make_ellipse(f, f.splats[id]);
    for (int row = ellipse.first_row; row <= ellipse.last_row; row++) {
      int first, last;
      tile_columns(ellipse, row, first, last);
      count += (uint32)(last - first + 1);
    }
    count = count < MOST ? count : MOST;
  }
  uint32 total;
  const uint32 place = block_exclusive_scan(count, scratch, total);
  if (threadIdx.x < 32) {
    const uint32 before = look_back(f.emit_status, block, total);
    if (lane == 0) {
      base_shared = before;
      if ((block + 1) * GAUSSIAN_THREADS >= visible) f.counters->pairs = add_saturated(before, total);
    }
  }
  __syncthreads();
  const uint32 start = base_shared + place;
  if (count <= ALONE) {
    uint32 at = start;
    for (int row = ellipse.first_row; row <= ellipse.last_row; row++) {
      int first, last;
      tile_columns(ellipse, row, first, last);
      write_pairs(f, at, row, first, last, id, histogram);
      at += (uint32)(last - first + 1);
    }
  }
  uint32 large = __ballot_sync(ALL_LANES, count > ALONE);
  while (large) {
    const int owner = __ffs(large) - 1;
    large &= large - 1;
    const uint32 owner_id = __shfl_sync(ALL_LANES, id, owner);
    uint32 at = __shfl_sync(ALL_LANES, start, owner);
    const Ellipse owner_ellipse = make_ellipse(f, f.splats[owner_id]);
    for (int top = owner_ellipse.first_row; top <= owner_ellipse.last_row; top += 32) {
      const int row = top + (int)lane;
      int first = 0, last = -1;
      if (row <= owner_ellipse.last_row) tile_columns(owner_ellipse, row, first, last);
      const uint32 width = (uint32)(last - first + 1), inclusive = warp_inclusive_scan(width);
      write_pairs(f, at + inclusive - width, row, first, last, owner_id, histogram);
      at += __shfl_sync(ALL_LANES, inclusive, 31);
    }
  }
  __syncthreads();
  for (int pass = 0; pass < f.tile_passes; pass++) {
    const uint32 times = histogram[pass][threadIdx.x];
    if (times) atomicAdd(&f.tile_histogram[pass * DIGITS + threadIdx.x], times);
  }
}
