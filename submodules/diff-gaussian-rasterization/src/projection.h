// Projection of Gaussians to the screen, W at a time: EWA splatting (Zwicker et al. 2001) as in 3D Gaussian Splatting
// (Kerbl et al. 2023).
#pragma once
#include "coverage.h"
#include "kernels.h"
#include "vectors.h"

namespace {

typedef vf Real;
INLINE Real real(float x) { return set1(x); }
#define SH_FUNCTION INLINE
#include "../diff_gaussian_rasterization/cuda_kernels/spherical_harmonics.h"

// W projected Gaussians, for the forward and the backward pass.
struct Projected {
  vm visible;
  Vec3 mean, camera_point, row0, row1, row2;  // rows of the camera's rotation
  vf inv_z, u, v, u_clamped, v_clamped;       // x / z, y / z and their clamped versions for the Jacobian
  Vec3 t1, t2, direction1, direction2;        // rows of J R; t1 = fx / z * direction1
  Vec3 scale, axis[3];                        // scale with modifier; columns of the Gaussian's rotation
  vf qw, qx, qy, qz, q_inv_norm;
  vf cov_xx, cov_xy, cov_yy, det_raw, inv_det;  // dilated covariance, determinant before dilation, 1 / determinant
  vf opacity_raw, compensation, opacity;        // opacity = opacity_raw * compensation
  vf x, y;
};

INLINE void rotation_columns(Projected& p) {
  vf w = p.qw, x = p.qx, y = p.qy, z = p.qz;
  vf one = set1(1.0f), two = set1(2.0f);
  p.axis[0] = {fnma(two, fma(y, y, z * z), one), two * fma(x, y, w * z), two * fma(x, z, -(w * y))};
  p.axis[1] = {two * fma(x, y, -(w * z)), fnma(two, fma(x, x, z * z), one), two * fma(y, z, w * x)};
  p.axis[2] = {two * fma(x, z, w * y), two * fma(y, z, -(w * x)), fnma(two, fma(x, x, y * y), one)};
}

struct Limits { float u_low, u_high, v_low, v_high; };
// Bounds of x / z and y / z for the Jacobian of the projection: 15 % of the image outside its border, which is 1.3 times
// the half field of view where the principal point is centered.
INLINE Limits jacobian_limits(const Scene& s) {
  float w = 1.15f * s.width, h = 1.15f * s.height;
  return {-(s.cx + 0.15f * s.width) / s.fx, (w - s.cx) / s.fx, -(s.cy + 0.15f * s.height) / s.fy, (h - s.cy) / s.fy};
}

// The mean in the camera frame and the rows of the projection's Jacobian there. False if no lane is visible.
INLINE bool to_camera(const Scene& s, int valid, Projected& p) {
  const float* R = s.rotation;
  p.row0 = {set1(R[0]), set1(R[1]), set1(R[2])};
  p.row1 = {set1(R[3]), set1(R[4]), set1(R[5])};
  p.row2 = {set1(R[6]), set1(R[7]), set1(R[8])};
  p.camera_point = {dot(p.row0, p.mean) + s.translation[0], dot(p.row1, p.mean) + s.translation[1],
                    dot(p.row2, p.mean) + s.translation[2]};
  vf z = p.camera_point.z;
  p.visible = both(both(gt(z, set1(s.near_plane)), gt(set1(3e38f), z)), first_lanes(valid));
  if (!mask_bits(p.visible)) return false;
  z = select(p.visible, z, set1(1.0f));
  p.inv_z = 1.0f / z;
  p.u = p.camera_point.x * p.inv_z;
  p.v = p.camera_point.y * p.inv_z;
  Limits lim = jacobian_limits(s);
  p.u_clamped = vclamp(p.u, set1(lim.u_low), set1(lim.u_high));
  p.v_clamped = vclamp(p.v, set1(lim.v_low), set1(lim.v_high));
  p.direction1 = p.row0 - p.u_clamped * p.row2;
  p.direction2 = p.row1 - p.v_clamped * p.row2;
  p.t1 = (s.fx * p.inv_z) * p.direction1;
  p.t2 = (s.fy * p.inv_z) * p.direction2;
  return true;
}

// The screen covariance before dilation, from the Gaussian's axes projected to the screen.
INLINE void covariance_from_axes(Vec3 m1, Vec3 m2, Projected& p) {
  p.cov_xx = dot(m1, m1); p.cov_xy = dot(m1, m2); p.cov_yy = dot(m2, m2);
  Vec3 normal = cross(m1, m2);  // |m1 x m2|^2 is the determinant without the cancellation of xx yy - xy^2
  p.det_raw = dot(normal, normal);
}

// Adds the dilation to the covariance; compensation, screen position, and visibility of what is finite.
INLINE void dilate(const Scene& s, Projected& p) {
  vf det = fma(set1(DILATION), p.cov_xx + p.cov_yy, p.det_raw + DILATION * DILATION);
  p.cov_xx += DILATION;
  p.cov_yy += DILATION;
  p.inv_det = 1.0f / det;
  p.compensation = set1(1.0f);
  if (s.flags & FLAG_ANTIALIASED) p.compensation = vsqrt(vmax(p.det_raw * p.inv_det, set1(COMPENSATION_FLOOR)));
  p.x = fma(set1(s.fx), p.u, set1(s.cx));
  p.y = fma(set1(s.fy), p.v, set1(s.cy));
  const vf big = set1(LARGEST);
  vm sane = both(both(gt(det, set1(0.0f)), gt(big, det)), both(gt(big, p.cov_xx), gt(big, p.cov_yy)));
  sane = both(sane, both(gt(p.cov_xx, set1(0.0f)), gt(p.cov_yy, set1(0.0f))));
  p.visible = both(p.visible, sane);
}

INLINE void project_lanes(const Scene& s, int64_t i, int valid, Projected& p) {
  float scratch[6 * W] __attribute__((aligned(64)));
  p.mean = vector_at(lanes_of(s.means, i, valid, 1, 3, scratch), 0);
  if (!to_camera(s, valid, p)) return;
  if (s.covariances.data) {
    vf c[6];
    const Lanes given = lanes_of(s.covariances, i, valid, 1, 6, scratch);
    for (int k = 0; k < 6; k++) c[k] = at(given, 0, k);
    // a given covariance is final: no scale modifier, as in the original interface
    Vec3 v1 = {fma(c[0], p.t1.x, fma(c[1], p.t1.y, c[2] * p.t1.z)), fma(c[1], p.t1.x, fma(c[3], p.t1.y, c[4] * p.t1.z)),
               fma(c[2], p.t1.x, fma(c[4], p.t1.y, c[5] * p.t1.z))};
    Vec3 v2 = {fma(c[0], p.t2.x, fma(c[1], p.t2.y, c[2] * p.t2.z)), fma(c[1], p.t2.x, fma(c[3], p.t2.y, c[4] * p.t2.z)),
               fma(c[2], p.t2.x, fma(c[4], p.t2.y, c[5] * p.t2.z))};
    p.cov_xx = dot(p.t1, v1); p.cov_xy = dot(p.t1, v2); p.cov_yy = dot(p.t2, v2);
    p.det_raw = fma(p.cov_xx, p.cov_yy, -(p.cov_xy * p.cov_xy));
  } else {
    const Lanes q = lanes_of(s.rotations, i, valid, 1, 4, scratch);
    p.qw = at(q, 0, 0); p.qx = at(q, 0, 1); p.qy = at(q, 0, 2); p.qz = at(q, 0, 3);
    const vf squared_length = fma(p.qw, p.qw, fma(p.qx, p.qx, fma(p.qy, p.qy, p.qz * p.qz)));
    // squares of shorter and longer quaternions are inexact or not finite
    p.visible = both(p.visible, both(gt(squared_length, set1(QUATERNION_SHORTEST * QUATERNION_SHORTEST)),
                                     gt(set1(QUATERNION_LONGEST * QUATERNION_LONGEST), squared_length)));
    p.q_inv_norm = 1.0f / vsqrt(squared_length);
    p.qw *= p.q_inv_norm; p.qx *= p.q_inv_norm; p.qy *= p.q_inv_norm; p.qz *= p.q_inv_norm;
    rotation_columns(p);
    p.scale = vector_at(lanes_of(s.scales, i, valid, 1, 3, scratch), 0);
    if (s.flags & FLAG_LOG_SCALES) p.scale = {exp_any(p.scale.x), exp_any(p.scale.y), exp_any(p.scale.z)};
    p.scale = set1(s.scale_modifier) * p.scale;
    Vec3 m1 = {dot(p.t1, p.axis[0]) * p.scale.x, dot(p.t1, p.axis[1]) * p.scale.y, dot(p.t1, p.axis[2]) * p.scale.z};
    Vec3 m2 = {dot(p.t2, p.axis[0]) * p.scale.x, dot(p.t2, p.axis[1]) * p.scale.y, dot(p.t2, p.axis[2]) * p.scale.z};
    covariance_from_axes(m1, m2, p);
  }
  dilate(s, p);
  p.opacity_raw = at(lanes_of(s.opacities, i, valid, 1, 1, scratch), 0, 0);
  if (s.flags & FLAG_OPACITY_LOGITS) p.opacity_raw = 1.0f / (1.0f + exp_any(-p.opacity_raw));
  p.opacity = p.opacity_raw * p.compensation;
  if (s.screen_means.data) {
    const Lanes shift = lanes_of(s.screen_means, i, valid, 1, 2, scratch);
    p.x += at(shift, 0, 0);
    p.y += at(shift, 0, 1);
  }
  const vf big = set1(LARGEST);
  p.visible = both(p.visible, both(gt(big, vabs(p.x)), gt(big, vabs(p.y))));
  // an infinite or NaN opacity is culled; one above 1 is clamped per pixel
  p.visible = both(p.visible, both(ge(p.opacity, set1(ALPHA_CUT)), gt(big, p.opacity)));
}

// project_lanes for prepared Gaussians; also returns log2 of the opacity.
INLINE void project_prepared(const Scene& s, int64_t i, int valid, Projected& p, vf& log2_opacity) {
  const float* from = (const float*)(s.prepared.data + i / GROUP * s.prepared.group_bytes) + i % GROUP;
  const auto vector = [&](int first) __attribute__((always_inline)) {
    return Vec3{load(from + first * GROUP), load(from + (first + 1) * GROUP), load(from + (first + 2) * GROUP)};
  };
  p.mean = vector(PREPARED_MEANS);
  if (!to_camera(s, valid, p)) return;
  for (int k = 0; k < 3; k++) p.axis[k] = vector(PREPARED_AXES + 3 * k);
  Vec3 m1 = {dot(p.t1, p.axis[0]), dot(p.t1, p.axis[1]), dot(p.t1, p.axis[2])};
  Vec3 m2 = {dot(p.t2, p.axis[0]), dot(p.t2, p.axis[1]), dot(p.t2, p.axis[2])};
  covariance_from_axes(m1, m2, p);
  dilate(s, p);
  log2_opacity = load(from + PREPARED_LOG2_OPACITY * GROUP);
  if (s.flags & FLAG_ANTIALIASED) log2_opacity += log2_positive(p.compensation);
  const vf big = set1(LARGEST);
  p.visible = both(p.visible, both(gt(big, vabs(p.x)), gt(big, vabs(p.y))));
  p.visible = both(p.visible, both(ge(log2_opacity, set1(LOG2_ALPHA_CUT)), gt(big, log2_opacity)));
}

// Unit vector from the camera center to the mean.
INLINE Vec3 view_direction(const Scene& s, Vec3 mean, vf& inv_length) {
  Vec3 d = {mean.x - s.center[0], mean.y - s.center[1], mean.z - s.center[2]};
  inv_length = 1.0f / vsqrt(vmax(dot(d, d), set1(1e-30f)));
  return inv_length * d;
}

// Whether all three components are finite and below LARGEST.
INLINE vm drawable(Vec3 color) {
  const vf big = set1(LARGEST);
  return both(gt(big, vabs(color.x)), both(gt(big, vabs(color.y)), gt(big, vabs(color.z))));
}

// Color before the clamp at 0.
INLINE Vec3 color_lanes(const Scene& s, int64_t i, int valid, Vec3 direction) {
  float scratch[48 * W] __attribute__((aligned(64)));
  if (s.colors.data) return vector_at(lanes_of(s.colors, i, valid, 1, 3, scratch), 0);
  vf Y[16];
  sh_basis(s.sh_degree, direction, Y);
  int terms = (s.sh_degree + 1) * (s.sh_degree + 1);
  const Lanes sh = lanes_of(s.sh, i, valid, terms, 3, scratch);
  Vec3 c = {set1(0.5f), set1(0.5f), set1(0.5f)};
  for (int k = 0; k < terms; k++) {
    Vec3 h = vector_at_without_prefetch(sh, k);
    c.x = fma(Y[k], h.x, c.x); c.y = fma(Y[k], h.y, c.y); c.z = fma(Y[k], h.z, c.z);
  }
  return c;
}

INLINE Vec3 prepared_color(const Scene& s, int64_t i, Vec3 direction) {
  vf Y[16];
  sh_basis(s.sh_degree, direction, Y);
  const int terms = (s.sh_degree + 1) * (s.sh_degree + 1);
  const float* from = (const float*)(s.prepared.data + i / GROUP * s.prepared.group_bytes);
  const uint16_t* half = (const uint16_t*)(from + PREPARED_FLOATS * GROUP) + i % GROUP;
  from += PREPARED_COLOR * GROUP + i % GROUP;
  Vec3 c = {load(from), load(from + GROUP), load(from + 2 * GROUP)};
  for (int k = 1; k < terms; k++, half += 3 * GROUP) {
    c.x = fma(Y[k], load_half(half), c.x);
    c.y = fma(Y[k], load_half(half + GROUP), c.y);
    c.z = fma(Y[k], load_half(half + 2 * GROUP), c.z);
  }
  return c;
}

INLINE void mark_invisible(int64_t i, int valid, Splat* splats, int32_t* radii) {
  for (int l = 0; l < valid; l++) {
    splats[i + l].pair_count = 0;
    if (radii) radii[i + l] = 0;
  }
}

// Prefetches one quarter of the spherical harmonics coefficients that W later Gaussians need: LINES cache lines of one
// coefficient's stream before those of the next, because memory serves single lines from 48 streams more slowly. In the
// grouped layout LINES is 1.
template <int LINES>
INLINE void prefetch_sh(const Strided& sh, int64_t i, int64_t distance, int streams, int quarter) {
  const int line = (int)(i / W % LINES);
  const float* from = address_of(sh, i - line * W) + distance;
  for (int k = line * streams + quarter * streams / 4; k < line * streams + (quarter + 1) * streams / 4; k++)
    prefetch(from + k / LINES / 3 * sh.stride_k + k / LINES % 3 * sh.stride_c + k % LINES * W);
}

// Projects the Gaussians [begin, end) and appends their (splat, tile) pairs to the list.
template <bool PREPARED>
INLINE void project_all(const Scene* scene, int64_t begin, int64_t end, Splat* splats, int32_t* radii, PairList* list) {
  const Scene& s = *scene;
  const int tiles_x = (s.width + TILE_W - 1) / TILE_W;
  const vf zero = set1(0.0f);
  const int sh_streams = s.sh.data && s.sh.stride_n == 1 ? 3 * (s.sh_degree + 1) * (s.sh_degree + 1) : 0;
  for (int64_t i = begin; i < end; i += W) {
    int valid = end - i < W ? (int)(end - i) : W;
    Projected p;
    vf log2_opacity;
    if (PREPARED)
      project_prepared(s, i, valid, p, log2_opacity);
    else
      project_lanes(s, i, valid, p);
    if (!any(p.visible)) { mark_invisible(i, valid, splats, radii); continue; }
    if (!PREPARED) log2_opacity = log2_positive(select(p.visible, p.opacity, set1(1.0f)));
    // alpha is 1/255 where the quadratic form of the conic has this value
    vf cut = 2.0f * LN2 * (log2_opacity + 7.99435344f);
    cut = fma(cut, set1(1.00001f), set1(1e-5f));
    Extents e;
    e.half_width = vsqrt(vmax(cut * p.cov_xx, zero));
    e.half_height = vsqrt(vmax(cut * p.cov_yy, zero));
    e.x = p.x - 0.5f;  // from here on pixel centers are at integers
    e.y = p.y - 0.5f;
    // first and last pixel center inside the extent, clipped to the image
    e.x0 = vmax(-vfloor(-(e.x - e.half_width)), zero);
    e.x1 = vmin(vfloor(e.x + e.half_width), set1(s.width - 1.0f));
    e.y0 = vmax(-vfloor(-(e.y - e.half_height)), zero);
    e.y1 = vmin(vfloor(e.y + e.half_height), set1(s.height - 1.0f));
    const vm on_screen = both(p.visible, both(ge(e.x1, e.x0), ge(e.y1, e.y0)));
    if (!any(on_screen)) { mark_invisible(i, valid, splats, radii); continue; }
    vf inv_length;
    const Vec3 direction = view_direction(s, p.mean, inv_length);
    Vec3 color = PREPARED ? prepared_color(s, i, direction) : color_lanes(s, i, valid, direction);
    // kept apart from `on_screen`, so that tiles and blocks are computed while the colors are loaded
    const vm drawn = both(on_screen, drawable(color));
    if (!s.colors.data) color = {vmax(color.x, zero), vmax(color.y, zero), vmax(color.z, zero)};
    e.A = (-0.5f * LOG2E) * p.cov_yy * p.inv_det;
    e.B = LOG2E * p.cov_xy * p.inv_det;
    e.C = (-0.5f * LOG2E) * p.cov_xx * p.inv_det;
    e.discriminant = (LOG2E * LOG2E) * p.inv_det;
    e.log2_opacity = log2_opacity;
    const vf depth = s.flags & FLAG_INVERSE_DEPTH ? p.inv_z : p.camera_point.z;
    vf fields[16] = {e.x, e.y, e.A, e.B, e.C, log2_opacity, color.x, color.y, color.z, depth, p.camera_point.z,
                     e.half_width, e.half_height, e.discriminant, zero, zero};
    const auto tile_at = [&](vf pixel, int size) { return vfloor(zero_unless(on_screen, pixel) * (1.0f / (float)size)); };
    const vf first_tile_row = tile_at(e.y0, TILE_H), first_tile_column = tile_at(e.x0, TILE_W);
    const vf last_tile_row = tile_at(e.y1, TILE_H), last_tile_column = tile_at(e.x1, TILE_W);
    const vf tile_rows = last_tile_row - first_tile_row, tile_columns = last_tile_column - first_tile_column;
    const uint32_t large = mask_bits(both(drawn, gt(vmax(tile_rows, tile_columns), set1(1.0f))));
    const vm small = both(on_screen, ge(set1(1.0f), vmax(tile_rows, tile_columns)));
    uint32_t blocks[SMALL_TILES][W] __attribute__((aligned(64)));
    cover_small(e, small, first_tile_row, first_tile_column, blocks);
    int64_t bound = SMALL_TILES * W;
    for (uint32_t lanes = large; lanes; lanes &= lanes - 1) {
      const int l = __builtin_ctz(lanes);
      bound += (int64_t)(tile_rows[l] + 1.0f) * (int64_t)(tile_columns[l] + 1.0f);
    }
    if (list->count + bound > list->capacity) list->grow(list, list->count + bound);
    for (int q = 0; q < SMALL_TILES; q++) {
      vi word;
      memcpy(&word, blocks[q], sizeof word);
      word = keep_lanes(both(small, drawn), word);
      memcpy(blocks[q], &word, sizeof word);
    }
    const vi tile = __builtin_convertvector(fma(first_tile_row, set1((float)tiles_x), first_tile_column), vi);
    vi start = set1i(0), count = set1i(0);
    const auto prefetch_next = [&](int quarter) __attribute__((always_inline)) {
      if (PREPARED) {
        const char* next = s.prepared.data + (i / GROUP + 1) * s.prepared.group_bytes;
        const int64_t lines = s.prepared.group_bytes / 64;
        for (int64_t k = quarter * lines / 4; k < (quarter + 1) * lines / 4; k++) prefetch(next + 64 * k);
      } else if (sh_streams && grouped(s.sh))
        prefetch_sh<1>(s.sh, i, s.sh.stride_group, sh_streams, quarter);
      else if (sh_streams)
        prefetch_sh<4>(s.sh, i, 4 * W, sh_streams, quarter);
    };
    if (!large) {
      write_small(tile, p.camera_point.z, blocks, tiles_x, (uint32_t)i, *list, start, count, prefetch_next);
    } else {  // one splat at a time, because the pairs must be in the order of the splats
      for (int quarter = 0; quarter < 4; quarter++) prefetch_next(quarter);
      for (int l = 0; l < valid; l++) {
        start[l] = (int32_t)list->count;
        if (large >> l & 1) {
          Splat splat;
          float* field = &splat.x;
          for (int k = 0; k < 14; k++) field[k] = fields[k][l];
          count[l] = cover_large(&s, splat, (uint32_t)(i + l), *list);
        } else {
          count[l] = write_one_small(tile[l], p.camera_point.z[l], blocks, l, tiles_x, (uint32_t)(i + l), *list);
        }
      }
    }
    list->visible += __builtin_popcount(mask_bits(gt(__builtin_convertvector(count, vf), zero)));
    fields[14] = from_bits(start);
    fields[15] = from_bits(count);
    if (valid == W) {
      transpose_to_rows(fields, (float (*)[16])(splats + i));
    } else {
      float rows_of[W][16] __attribute__((aligned(64)));
      transpose_to_rows(fields, rows_of);
      memcpy(splats + i, rows_of, (size_t)valid * sizeof(Splat));
    }
    if (radii) {
      vf mid = 0.5f * (p.cov_xx + p.cov_yy), diff = 0.5f * (p.cov_xx - p.cov_yy);
      vf largest = mid + vsqrt(fma(diff, diff, p.cov_xy * p.cov_xy));
      int32_t radius[W];
      store_integers(radius, zero_unless(drawn, vmin(-vfloor(-3.0f * vsqrt(largest)), set1(1e9f))));
      memcpy(radii + i, radius, valid * sizeof(int32_t));
    }
  }
}

void project(const Scene* scene, int64_t begin, int64_t end, Splat* splats, int32_t* radii, PairList* list) {
  if (scene->prepared.data)
    project_all<true>(scene, begin, end, splats, radii, list);
  else
    project_all<false>(scene, begin, end, splats, radii, list);
}

}  // namespace
