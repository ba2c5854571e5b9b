// Gaussians to the screen and gradients back, W Gaussians at a time.
// EWA splatting (Zwicker et al. 2001) as in 3D Gaussian Splatting (Kerbl et al. 2023).
#pragma once
#include "adam.h"
#include "kernels.h"
#include "simd.h"

namespace {

const float LOG2E = 1.44269504f, LN2 = 0.69314718f;
const float ALPHA_CUT = 1.0f / 255.0f, ALPHA_MAX = 0.99f, TRANSMITTANCE_STOP = 1e-4f;
const float DILATION = 0.3f, COMPENSATION_FLOOR = 2.5e-5f;

// Lanes of one component; lanes past `valid` repeat the last Gaussian.
INLINE vf get(const Strided& t, int64_t i, int k, int c, int valid) {
  const float* p = t.data + i * t.stride_n + k * t.stride_k + c * t.stride_c;
  if (t.stride_n == 1 && valid == W) {
    __builtin_prefetch(p + 4 * W);  // there are more streams than the hardware follows
    return load(p);
  }
  float lanes[W];
  for (int l = 0; l < W; l++) lanes[l] = p[(l < valid ? l : valid - 1) * t.stride_n];
  return load(lanes);
}

INLINE void put(const Strided& t, int64_t i, int k, int c, int valid, vf v) {
  float* p = t.data + i * t.stride_n + k * t.stride_k + c * t.stride_c;
  if (t.stride_n == 1 && valid == W) { store(p, v); return; }
  float lanes[W];
  store(lanes, v);
  for (int l = 0; l < valid; l++) p[l * t.stride_n] = lanes[l];
}

struct Vec3 { vf x, y, z; };
INLINE Vec3 operator+(Vec3 a, Vec3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
INLINE Vec3 operator-(Vec3 a, Vec3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
INLINE Vec3 operator*(vf s, Vec3 a) { return {s * a.x, s * a.y, s * a.z}; }
INLINE vf dot(Vec3 a, Vec3 b) { return fma(a.x, b.x, fma(a.y, b.y, a.z * b.z)); }
INLINE Vec3 cross(Vec3 a, Vec3 b) {
  return {fma(a.y, b.z, -(a.z * b.y)), fma(a.z, b.x, -(a.x * b.z)), fma(a.x, b.y, -(a.y * b.x))};
}
INLINE Vec3 get3(const Strided& t, int64_t i, int k, int valid) {
  return {get(t, i, k, 0, valid), get(t, i, k, 1, valid), get(t, i, k, 2, valid)};
}
INLINE void put3(const Strided& t, int64_t i, int k, int valid, Vec3 v) {
  put(t, i, k, 0, valid, v.x); put(t, i, k, 1, valid, v.y); put(t, i, k, 2, valid, v.z);
}

// What both directions need of W projected Gaussians.
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
// The Jacobian is taken at most 15 % of the image outside its border (1.3 times the half field of view when centred).
INLINE Limits jacobian_limits(const Scene& s) {
  float w = 1.15f * s.width, h = 1.15f * s.height;
  return {-(s.cx + 0.15f * s.width) / s.fx, (w - s.cx) / s.fx, -(s.cy + 0.15f * s.height) / s.fy, (h - s.cy) / s.fy};
}

INLINE void project_lanes(const Scene& s, int64_t i, int valid, Projected& p) {
  const float* R = s.rotation;
  p.mean = get3(s.means, i, 0, valid);
  p.row0 = {set1(R[0]), set1(R[1]), set1(R[2])};
  p.row1 = {set1(R[3]), set1(R[4]), set1(R[5])};
  p.row2 = {set1(R[6]), set1(R[7]), set1(R[8])};
  p.camera_point = {dot(p.row0, p.mean) + s.translation[0], dot(p.row1, p.mean) + s.translation[1],
                    dot(p.row2, p.mean) + s.translation[2]};
  vf z = p.camera_point.z;
  p.visible = both(both(gt(z, set1(s.near_plane)), gt(set1(3e38f), z)), first_lanes(valid));
  if (!mask_bits(p.visible)) return;
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
  if (s.covariances.data) {
    vf c[6];
    for (int k = 0; k < 6; k++) c[k] = get(s.covariances, i, 0, k, valid);
    // a given covariance is final: no scale modifier, as in the original interface
    Vec3 v1 = {fma(c[0], p.t1.x, fma(c[1], p.t1.y, c[2] * p.t1.z)), fma(c[1], p.t1.x, fma(c[3], p.t1.y, c[4] * p.t1.z)),
               fma(c[2], p.t1.x, fma(c[4], p.t1.y, c[5] * p.t1.z))};
    Vec3 v2 = {fma(c[0], p.t2.x, fma(c[1], p.t2.y, c[2] * p.t2.z)), fma(c[1], p.t2.x, fma(c[3], p.t2.y, c[4] * p.t2.z)),
               fma(c[2], p.t2.x, fma(c[4], p.t2.y, c[5] * p.t2.z))};
    p.cov_xx = dot(p.t1, v1); p.cov_xy = dot(p.t1, v2); p.cov_yy = dot(p.t2, v2);
    p.det_raw = fma(p.cov_xx, p.cov_yy, -(p.cov_xy * p.cov_xy));
  } else {
    p.qw = get(s.rotations, i, 0, 0, valid); p.qx = get(s.rotations, i, 0, 1, valid);
    p.qy = get(s.rotations, i, 0, 2, valid); p.qz = get(s.rotations, i, 0, 3, valid);
    p.q_inv_norm = 1.0f / vsqrt(fma(p.qw, p.qw, fma(p.qx, p.qx, fma(p.qy, p.qy, p.qz * p.qz))));
    p.qw *= p.q_inv_norm; p.qx *= p.q_inv_norm; p.qy *= p.q_inv_norm; p.qz *= p.q_inv_norm;
    rotation_columns(p);
    p.scale = get3(s.scales, i, 0, valid);
    if (s.flags & FLAG_LOG_SCALES) p.scale = {exp_any(p.scale.x), exp_any(p.scale.y), exp_any(p.scale.z)};
    p.scale = set1(s.scale_modifier) * p.scale;
    Vec3 m1 = {dot(p.t1, p.axis[0]) * p.scale.x, dot(p.t1, p.axis[1]) * p.scale.y, dot(p.t1, p.axis[2]) * p.scale.z};
    Vec3 m2 = {dot(p.t2, p.axis[0]) * p.scale.x, dot(p.t2, p.axis[1]) * p.scale.y, dot(p.t2, p.axis[2]) * p.scale.z};
    p.cov_xx = dot(m1, m1); p.cov_xy = dot(m1, m2); p.cov_yy = dot(m2, m2);
    Vec3 normal = cross(m1, m2);  // |m1 x m2|^2 is the determinant without the cancellation of xx yy - xy^2
    p.det_raw = dot(normal, normal);
  }
  vf det = fma(set1(DILATION), p.cov_xx + p.cov_yy, p.det_raw + DILATION * DILATION);
  p.cov_xx += DILATION;
  p.cov_yy += DILATION;
  p.inv_det = 1.0f / det;
  p.opacity_raw = get(s.opacities, i, 0, 0, valid);
  if (s.flags & FLAG_OPACITY_LOGITS) p.opacity_raw = 1.0f / (1.0f + exp_any(-p.opacity_raw));
  p.compensation = set1(1.0f);
  if (s.flags & FLAG_ANTIALIASED) p.compensation = vsqrt(vmax(p.det_raw * p.inv_det, set1(COMPENSATION_FLOOR)));
  p.opacity = p.opacity_raw * p.compensation;
  p.x = fma(set1(s.fx), p.u, set1(s.cx));
  p.y = fma(set1(s.fy), p.v, set1(s.cy));
  if (s.screen_means.data) { p.x += get(s.screen_means, i, 0, 0, valid); p.y += get(s.screen_means, i, 0, 1, valid); }
  vf big = set1(1e30f);
  vm sane = both(both(gt(det, set1(0.0f)), gt(big, det)), both(gt(big, vabs(p.x)), gt(big, vabs(p.y))));
  sane = both(sane, both(gt(big, p.cov_xx), gt(big, p.cov_yy)));
  sane = both(sane, both(gt(p.cov_xx, set1(0.0f)), gt(p.cov_yy, set1(0.0f))));
  // an opacity of infinity or NaN is culled, one above 1 is clamped per pixel
  p.visible = both(p.visible, both(sane, both(ge(p.opacity, set1(ALPHA_CUT)), gt(big, p.opacity))));
}

// Real spherical harmonics up to degree 3 with the signs of the 3DGS files.
INLINE void sh_basis(int degree, Vec3 d, vf* Y) {
  vf x = d.x, y = d.y, z = d.z;
  Y[0] = set1(0.28209479177387814f);
  if (degree < 1) return;
  Y[1] = -0.4886025119029199f * y; Y[2] = 0.4886025119029199f * z; Y[3] = -0.4886025119029199f * x;
  if (degree < 2) return;
  vf xx = x * x, yy = y * y, zz = z * z, xy = x * y, yz = y * z, xz = x * z;
  Y[4] = 1.0925484305920792f * xy; Y[5] = -1.0925484305920792f * yz;
  Y[6] = 0.31539156525252005f * (2.0f * zz - xx - yy);
  Y[7] = -1.0925484305920792f * xz; Y[8] = 0.5462742152960396f * (xx - yy);
  if (degree < 3) return;
  Y[9] = -0.5900435899266435f * y * (3.0f * xx - yy); Y[10] = 2.890611442640554f * xy * z;
  Y[11] = -0.4570457994644658f * y * (4.0f * zz - xx - yy);
  Y[12] = 0.3731763325901154f * z * (2.0f * zz - 3.0f * xx - 3.0f * yy);
  Y[13] = -0.4570457994644658f * x * (4.0f * zz - xx - yy); Y[14] = 1.445305721320277f * z * (xx - yy);
  Y[15] = -0.5900435899266435f * x * (xx - 3.0f * yy);
}

// Sum over k of a[k] dY_k / d direction.
INLINE Vec3 sh_direction_gradient(int degree, Vec3 d, const vf* a) {
  vf x = d.x, y = d.y, z = d.z;
  Vec3 g = {set1(0.0f), set1(0.0f), set1(0.0f)};
  if (degree < 1) return g;
  const float c1 = 0.4886025119029199f;
  g.x -= c1 * a[3]; g.y -= c1 * a[1]; g.z += c1 * a[2];
  if (degree < 2) return g;
  const float c2 = 1.0925484305920792f, c20 = 0.31539156525252005f, c22 = 0.5462742152960396f;
  g.x += c2 * y * a[4] - 2.0f * c20 * x * a[6] - c2 * z * a[7] + 2.0f * c22 * x * a[8];
  g.y += c2 * x * a[4] - c2 * z * a[5] - 2.0f * c20 * y * a[6] - 2.0f * c22 * y * a[8];
  g.z += -c2 * y * a[5] + 4.0f * c20 * z * a[6] - c2 * x * a[7];
  if (degree < 3) return g;
  const float c30 = 0.5900435899266435f, c31 = 2.890611442640554f, c32 = 0.4570457994644658f,
              c33 = 0.3731763325901154f, c35 = 1.445305721320277f;
  vf xx = x * x, yy = y * y, zz = z * z, xy = x * y, yz = y * z, xz = x * z;
  g.x += -6.0f * c30 * xy * a[9] + c31 * yz * a[10] + 2.0f * c32 * xy * a[11] - 6.0f * c33 * xz * a[12] -
         c32 * (4.0f * zz - 3.0f * xx - yy) * a[13] + 2.0f * c35 * xz * a[14] - 3.0f * c30 * (xx - yy) * a[15];
  g.y += -3.0f * c30 * (xx - yy) * a[9] + c31 * xz * a[10] - c32 * (4.0f * zz - xx - 3.0f * yy) * a[11] -
         6.0f * c33 * yz * a[12] + 2.0f * c32 * xy * a[13] - 2.0f * c35 * yz * a[14] + 6.0f * c30 * xy * a[15];
  g.z += c31 * xy * a[10] - 8.0f * c32 * yz * a[11] + 3.0f * c33 * (2.0f * zz - xx - yy) * a[12] -
         8.0f * c32 * xz * a[13] + c35 * (xx - yy) * a[14];
  return g;
}

INLINE Vec3 view_direction(const Scene& s, Vec3 mean, vf& inv_length) {
  Vec3 d = {mean.x - s.center[0], mean.y - s.center[1], mean.z - s.center[2]};
  inv_length = 1.0f / vsqrt(vmax(dot(d, d), set1(1e-30f)));
  return inv_length * d;
}

// Colour before the clamp at 0.
INLINE Vec3 color_lanes(const Scene& s, int64_t i, int valid, Vec3 direction) {
  if (s.colors.data) return get3(s.colors, i, 0, valid);
  vf Y[16];
  sh_basis(s.sh_degree, direction, Y);
  int terms = (s.sh_degree + 1) * (s.sh_degree + 1);
  Vec3 c = {set1(0.5f), set1(0.5f), set1(0.5f)};
  for (int k = 0; k < terms; k++) {
    Vec3 h = get3(s.sh, i, k, valid);
    c.x = fma(Y[k], h.x, c.x); c.y = fma(Y[k], h.y, c.y); c.z = fma(Y[k], h.z, c.z);
  }
  return c;
}

void project(const Scene* scene, int64_t begin, int64_t end, Splat* splats, int32_t* radii) {
  const Scene& s = *scene;
  const float tiles_x = (float)((s.width + TILE_W - 1) / TILE_W), tiles_y = (float)((s.height + TILE_H - 1) / TILE_H);
  for (int64_t i = begin; i < end; i += W) {
    int valid = end - i < W ? (int)(end - i) : W;
    Projected p;
    project_lanes(s, i, valid, p);
    if (!mask_bits(p.visible)) {
      for (int l = 0; l < valid; l++) { splats[i + l].pair_count = 0; if (radii) radii[i + l] = 0; }
      continue;
    }
    vf log2_opacity = log2_positive(select(p.visible, p.opacity, set1(1.0f)));
    // where the quadratic form of the conic reaches this, alpha has fallen to 1/255
    vf cut = 2.0f * LN2 * (log2_opacity + 7.99435344f);
    cut = fma(cut, set1(1.00001f), set1(1e-5f));
    vf half_width = vsqrt(vmax(cut * p.cov_xx, set1(0.0f))), half_height = vsqrt(vmax(cut * p.cov_yy, set1(0.0f)));
    // first and last pixel centre inside the extent, clipped to the image
    vf center_x = p.x - 0.5f, center_y = p.y - 0.5f;  // from here on pixel centres are at whole numbers
    vf x0 = vmax(-vfloor(-(center_x - half_width)), set1(0.0f));
    vf x1 = vmin(vfloor(center_x + half_width), set1(s.width - 1.0f));
    vf y0 = vmax(-vfloor(-(center_y - half_height)), set1(0.0f));
    vf y1 = vmin(vfloor(center_y + half_height), set1(s.height - 1.0f));
    vm seen = both(p.visible, both(ge(x1, x0), ge(y1, y0)));
    if (!mask_bits(seen)) {
      for (int l = 0; l < valid; l++) { splats[i + l].pair_count = 0; if (radii) radii[i + l] = 0; }
      continue;
    }
    vf columns = vfloor(x1 * (1.0f / TILE_W)) - vfloor(x0 * (1.0f / TILE_W)) + 1.0f;
    vf rows = vfloor(y1 * (1.0f / TILE_H)) - vfloor(y0 * (1.0f / TILE_H)) + 1.0f;
    vf pairs = vmin(columns, set1(tiles_x)) * vmin(rows, set1(tiles_y));
    vf inv_length;
    Vec3 color = color_lanes(s, i, valid, view_direction(s, p.mean, inv_length));
    if (!s.colors.data) {
      vf zero = set1(0.0f);
      color = {vmax(color.x, zero), vmax(color.y, zero), vmax(color.z, zero)};
    }
    vf mid = 0.5f * (p.cov_xx + p.cov_yy), diff = 0.5f * (p.cov_xx - p.cov_yy);
    vf largest = mid + vsqrt(fma(diff, diff, p.cov_xy * p.cov_xy));
    vf radius = vmin(-vfloor(-3.0f * vsqrt(largest)), set1(1e9f));
    float field[14][W], pair_counts[W], radius_lanes[W];
    store(field[0], center_x); store(field[1], center_y);
    store(field[2], (-0.5f * LOG2E) * p.cov_yy * p.inv_det);
    store(field[3], LOG2E * p.cov_xy * p.inv_det);
    store(field[4], (-0.5f * LOG2E) * p.cov_xx * p.inv_det);
    store(field[5], log2_opacity);
    store(field[6], color.x); store(field[7], color.y); store(field[8], color.z);
    store(field[9], p.camera_point.z);
    store(field[10], p.opacity); store(field[11], half_width); store(field[12], half_height); store(field[13], (LOG2E * LOG2E) * p.inv_det);
    store(pair_counts, zero_unless(seen, pairs));
    store(radius_lanes, zero_unless(seen, radius));
    for (int l = 0; l < valid; l++) {
      float* out = &splats[i + l].x;
      for (int f = 0; f < 14; f++) out[f] = field[f][l];
      splats[i + l].pair_count = (int32_t)pair_counts[l];
      if (radii) radii[i + l] = (int32_t)radius_lanes[l];
    }
  }
}

// Sums of the slots of one Gaussian, in the order of its tiles: the same whatever the number of threads.
INLINE void reduce_slots(const Splat& splat, const Slot* slots, const uint8_t* used, float* sums) {
  float acc[16] = {0};
  for (int32_t j = 0; j < splat.pair_count; j++) {
    int64_t at = (int64_t)splat.pair_start + j;
    if (!used[at]) continue;
    for (int f = 0; f < 16; f += W) store(acc + f, load(acc + f) + load(slots[at].v + f));
  }
  memcpy(sums, acc, sizeof acc);
}

INLINE void fill_zero(const Strided& t, int64_t i, int valid, int components) {
  if (!t.data) return;
  for (int c = 0; c < components; c++) put(t, i, 0, c, valid, set1(0.0f));
}

// Where the gradient of a tensor goes: into a tensor of its own, or with Adam straight into the parameter.
struct Sink {
  Strided target, first, second;
  AdamRates rates, rest_rates;  // rest: for coefficients above the first
};

template <bool FUSED>
INLINE void deliver(const Sink& t, int64_t i, int k, int c, int valid, vf v) {
  if (!FUSED) {
    if (t.target.data) put(t.target, i, k, c, valid, v);
    return;
  }
  vf first = get(t.first, i, k, c, valid), second = get(t.second, i, k, c, valid);
  put(t.target, i, k, c, valid,
      adam_lanes(k == 0 ? t.rates : t.rest_rates, get(t.target, i, k, c, valid), v, first, second));
  put(t.first, i, k, c, valid, first);
  put(t.second, i, k, c, valid, second);
}

template <bool FUSED>
INLINE void deliver_zeros(const Sink& t, int64_t i, int valid, int terms, int components) {
  if (!t.target.data) return;
  for (int k = 0; k < terms; k++)
    for (int c = 0; c < components; c++) deliver<FUSED>(t, i, k, c, valid, set1(0.0f));
}

INLINE Sink make_sink(const Gradients& g, const Strided& target, int tensor) {
  Sink t = {target, target, target, {}, {}};
  if (g.adam) {
    const FusedAdam& a = *g.adam;
    t.first = a.first[tensor];
    t.second = a.second[tensor];
    t.rates = adam_rates(a.rates_by_bias1[tensor], a.inv_root_bias2, a.beta1, a.beta2, a.epsilon);
    t.rest_rates = adam_rates(a.rates_by_bias1[5], a.inv_root_bias2, a.beta1, a.beta2, a.epsilon);
  }
  return t;
}

template <bool FUSED>
INLINE void backward_gaussians_of(const Scene* scene, int64_t begin, int64_t end, const Splat* splats, const Slot* slots,
                        const uint8_t* used, const Gradients* gradients, double* camera_sums) {
  const Scene& s = *scene;
  const Gradients& g = *gradients;
  const int sh_terms = s.sh.data ? (s.sh_degree + 1) * (s.sh_degree + 1) : 0;
  const vf zero = set1(0.0f);
  const Sink to_means = make_sink(g, g.means, 0), to_rotations = make_sink(g, g.rotations, 1),
             to_scales = make_sink(g, g.scales, 2), to_opacities = make_sink(g, g.opacities, 3),
             to_sh = make_sink(g, g.sh, 4);
  vf sum_R[9], sum_t[3], sum_fx = zero, sum_fy = zero, sum_cx = zero, sum_cy = zero;
  Vec3 sum_center = {zero, zero, zero};
  for (int k = 0; k < 9; k++) sum_R[k] = zero;
  for (int k = 0; k < 3; k++) sum_t[k] = zero;
  const bool camera = (s.flags & FLAG_CAMERA_GRADIENT) != 0;
  const Limits lim = jacobian_limits(s);
  for (int64_t i = begin; i < end; i += W) {
    int valid = end - i < W ? (int)(end - i) : W;
    float sums[W][16];
    float in[12][W];
    bool any = false;
    for (int l = 0; l < W; l++) {
      bool has = l < valid && splats[i + l].pair_count > 0;
      any |= has;
      if (has) reduce_slots(splats[i + l], slots, used, sums[l]);
      else memset(sums[l], 0, sizeof sums[l]);
    }
    Projected p;
    if (any) {
      project_lanes(s, i, valid, p);
      any = mask_bits(p.visible) != 0;
    }
    if (!any) {
      deliver_zeros<FUSED>(to_means, i, valid, 1, 3);
      deliver_zeros<FUSED>(to_rotations, i, valid, 1, 4);
      deliver_zeros<FUSED>(to_scales, i, valid, 1, 3);
      deliver_zeros<FUSED>(to_opacities, i, valid, 1, 1);
      deliver_zeros<FUSED>(to_sh, i, valid, sh_terms, 3);
      fill_zero(g.colors, i, valid, 3);
      fill_zero(g.covariances, i, valid, 6);
      fill_zero(g.screen_means, i, valid, 2);
      continue;
    }
    for (int f = 0; f < 10; f++)
      for (int l = 0; l < W; l++) in[f][l] = sums[l][f];
    // lanes that are not visible may hold anything: keep their sums at 0 and their values finite
    vm on = p.visible;
    vf H = load(in[0]), Hx = load(in[1]), Hy = load(in[2]), Hxx = load(in[3]), Hxy = load(in[4]), Hyy = load(in[5]);
    Vec3 d_color = {load(in[6]), load(in[7]), load(in[8])};
    vf d_depth = load(in[9]);
    vf a = p.cov_yy * p.inv_det, b = -(p.cov_xy * p.inv_det), c = p.cov_xx * p.inv_det;  // the conic
    vf d_x = zero_unless(on, fma(a, Hx, b * Hy)), d_y = zero_unless(on, fma(b, Hx, c * Hy));
    if (g.screen_means.data) { put(g.screen_means, i, 0, 0, valid, d_x); put(g.screen_means, i, 0, 1, valid, d_y); }
    // dL/dcovariance = 1/2 conic H conic, as a full symmetric matrix
    vf p00 = fma(a, Hxx, b * Hxy), p01 = fma(a, Hxy, b * Hyy), p10 = fma(b, Hxx, c * Hxy), p11 = fma(b, Hxy, c * Hyy);
    vf s_xx = 0.5f * fma(p00, a, p01 * b), s_xy = 0.5f * fma(p00, b, p01 * c), s_yy = 0.5f * fma(p10, b, p11 * c);
    vf d_opacity = H / p.opacity_raw;
    if (s.flags & FLAG_ANTIALIASED) {
      vf ratio = p.det_raw * p.inv_det;
      // opacity * compensation: H is the gradient to the logarithm of either factor
      vf half = select(gt(ratio, set1(COMPENSATION_FLOOR)), 0.5f * H, zero);
      vf inv_raw = 1.0f / select(gt(p.det_raw, zero), p.det_raw, set1(1.0f));
      s_xx += half * (inv_raw * (p.cov_yy - DILATION) - a);
      s_yy += half * (inv_raw * (p.cov_xx - DILATION) - c);
      s_xy += half * (-(inv_raw * p.cov_xy) - b);
    }
    if (s.flags & FLAG_OPACITY_LOGITS) d_opacity = H * (1.0f - p.opacity_raw);
    deliver<FUSED>(to_opacities, i, 0, 0, valid, zero_unless(on, d_opacity));
    Vec3 d_t1, d_t2;
    if (s.covariances.data) {
      vf m[6];
      for (int k = 0; k < 6; k++) m[k] = get(s.covariances, i, 0, k, valid);
      Vec3 t1 = p.t1, t2 = p.t2;
      Vec3 e1 = s_xx * t1 + s_xy * t2, e2 = s_xy * t1 + s_yy * t2;  // S T
      if (g.covariances.data) {
        put(g.covariances, i, 0, 0, valid, zero_unless(on, fma(t1.x, e1.x, t2.x * e2.x)));
        put(g.covariances, i, 0, 3, valid, zero_unless(on, fma(t1.y, e1.y, t2.y * e2.y)));
        put(g.covariances, i, 0, 5, valid, zero_unless(on, fma(t1.z, e1.z, t2.z * e2.z)));
        put(g.covariances, i, 0, 1, valid, zero_unless(on, 2.0f * fma(t1.x, e1.y, t2.x * e2.y)));
        put(g.covariances, i, 0, 2, valid, zero_unless(on, 2.0f * fma(t1.x, e1.z, t2.x * e2.z)));
        put(g.covariances, i, 0, 4, valid, zero_unless(on, 2.0f * fma(t1.y, e1.z, t2.y * e2.z)));
      }
      d_t1 = {fma(m[0], e1.x, fma(m[1], e1.y, m[2] * e1.z)), fma(m[1], e1.x, fma(m[3], e1.y, m[4] * e1.z)),
              fma(m[2], e1.x, fma(m[4], e1.y, m[5] * e1.z))};
      d_t2 = {fma(m[0], e2.x, fma(m[1], e2.y, m[2] * e2.z)), fma(m[1], e2.x, fma(m[3], e2.y, m[4] * e2.z)),
              fma(m[2], e2.x, fma(m[4], e2.y, m[5] * e2.z))};
      d_t1 = set1(2.0f) * d_t1; d_t2 = set1(2.0f) * d_t2;
    } else {
      Vec3 none = {zero, zero, zero};
      d_t1 = none; d_t2 = none;
      Vec3 d_axis[3];
      vf scales[3] = {p.scale.x, p.scale.y, p.scale.z}, d_scales[3];
      for (int k = 0; k < 3; k++) {
        vf n1 = dot(p.t1, p.axis[k]), n2 = dot(p.t2, p.axis[k]);
        vf m1 = n1 * scales[k], m2 = n2 * scales[k];
        vf d_m1 = 2.0f * fma(s_xx, m1, s_xy * m2), d_m2 = 2.0f * fma(s_xy, m1, s_yy * m2);
        d_t1 = d_t1 + (d_m1 * scales[k]) * p.axis[k];
        d_t2 = d_t2 + (d_m2 * scales[k]) * p.axis[k];
        d_axis[k] = scales[k] * (d_m1 * p.t1 + d_m2 * p.t2);
        d_scales[k] = fma(d_m1, n1, d_m2 * n2);
      }
      if (g.scales.data)
        for (int k = 0; k < 3; k++) {
          vf chain = (s.flags & FLAG_LOG_SCALES) ? scales[k] : set1(s.scale_modifier);
          deliver<FUSED>(to_scales, i, 0, k, valid, zero_unless(on, d_scales[k] * chain));
        }
      if (g.rotations.data) {
        vf w = p.qw, x = p.qx, y = p.qy, z = p.qz;
        Vec3 A = d_axis[0], B = d_axis[1], C = d_axis[2];  // gradients of the columns of the rotation matrix
        vf dw = 2.0f * (z * (A.y - B.x) + y * (C.x - A.z) + x * (B.z - C.y));
        vf dx = 2.0f * (y * (A.y + B.x) + z * (A.z + C.x) + w * (B.z - C.y)) - 4.0f * x * (B.y + C.z);
        vf dy = 2.0f * (x * (A.y + B.x) + z * (B.z + C.y) + w * (C.x - A.z)) - 4.0f * y * (A.x + C.z);
        vf dz = 2.0f * (x * (A.z + C.x) + y * (B.z + C.y) + w * (A.y - B.x)) - 4.0f * z * (A.x + B.y);
        vf radial = fma(dw, w, fma(dx, x, fma(dy, y, dz * z)));
        deliver<FUSED>(to_rotations, i, 0, 0, valid, zero_unless(on, p.q_inv_norm * fnma(radial, w, dw)));
        deliver<FUSED>(to_rotations, i, 0, 1, valid, zero_unless(on, p.q_inv_norm * fnma(radial, x, dx)));
        deliver<FUSED>(to_rotations, i, 0, 2, valid, zero_unless(on, p.q_inv_norm * fnma(radial, y, dy)));
        deliver<FUSED>(to_rotations, i, 0, 3, valid, zero_unless(on, p.q_inv_norm * fnma(radial, z, dz)));
      }
    }
    vf k1 = s.fx * p.inv_z, k2 = s.fy * p.inv_z;
    vf d_k1 = dot(d_t1, p.direction1), d_k2 = dot(d_t2, p.direction2);
    vf d_uc = -(k1 * dot(d_t1, p.row2)), d_vc = -(k2 * dot(d_t2, p.row2));
    vm u_inside = both(gt(p.u, set1(lim.u_low)), gt(set1(lim.u_high), p.u));
    vm v_inside = both(gt(p.v, set1(lim.v_low)), gt(set1(lim.v_high), p.v));
    vf d_u = select(u_inside, d_uc, zero) + s.fx * d_x, d_v = select(v_inside, d_vc, zero) + s.fy * d_y;
    Vec3 d_point = {d_u * p.inv_z, d_v * p.inv_z,
                    d_depth - p.inv_z * (d_u * p.u + d_v * p.v + d_k1 * k1 + d_k2 * k2)};
    d_point = {zero_unless(on, d_point.x), zero_unless(on, d_point.y), zero_unless(on, d_point.z)};
    Vec3 d_mean = d_point.x * p.row0 + d_point.y * p.row1 + d_point.z * p.row2;
    Vec3 d_center = {zero, zero, zero};
    if (s.sh.data) {
      vf inv_length;
      Vec3 direction = view_direction(s, p.mean, inv_length);
      Vec3 color = color_lanes(s, i, valid, direction);
      d_color = {select(gt(color.x, zero), d_color.x, zero), select(gt(color.y, zero), d_color.y, zero),
                 select(gt(color.z, zero), d_color.z, zero)};
      vf Y[16], a_k[16];
      sh_basis(s.sh_degree, direction, Y);
      for (int k = 0; k < sh_terms; k++) {
        a_k[k] = dot(get3(s.sh, i, k, valid), d_color);
        if (g.sh.data) {
          Vec3 d = Y[k] * d_color;
          deliver<FUSED>(to_sh, i, k, 0, valid, zero_unless(on, d.x));
          deliver<FUSED>(to_sh, i, k, 1, valid, zero_unless(on, d.y));
          deliver<FUSED>(to_sh, i, k, 2, valid, zero_unless(on, d.z));
        }
      }
      Vec3 d_dir = sh_direction_gradient(s.sh_degree, direction, a_k);
      d_dir = inv_length * (d_dir - dot(d_dir, direction) * direction);
      d_dir = {zero_unless(on, d_dir.x), zero_unless(on, d_dir.y), zero_unless(on, d_dir.z)};
      d_mean = d_mean + d_dir;
      d_center = d_dir;
    } else if (g.colors.data) {
      put3(g.colors, i, 0, valid, d_color);
    }
    deliver<FUSED>(to_means, i, 0, 0, valid, d_mean.x);
    deliver<FUSED>(to_means, i, 0, 1, valid, d_mean.y);
    deliver<FUSED>(to_means, i, 0, 2, valid, d_mean.z);
    if (camera) {
      Vec3 m = {zero_unless(on, p.mean.x), zero_unless(on, p.mean.y), zero_unless(on, p.mean.z)};
      Vec3 d_row0 = k1 * d_t1, d_row1 = k2 * d_t2;
      Vec3 d_row2 = (-(k1 * p.u_clamped)) * d_t1 + (-(k2 * p.v_clamped)) * d_t2;
      Vec3 rows[3] = {d_row0, d_row1, d_row2};
      vf dp[3] = {d_point.x, d_point.y, d_point.z};
      for (int k = 0; k < 3; k++) {
        sum_R[3 * k] += fma(dp[k], m.x, zero_unless(on, rows[k].x));
        sum_R[3 * k + 1] += fma(dp[k], m.y, zero_unless(on, rows[k].y));
        sum_R[3 * k + 2] += fma(dp[k], m.z, zero_unless(on, rows[k].z));
        sum_t[k] += dp[k];
      }
      // a clamped u depends on the intrinsics: its limit is (constant - cx) / fx
      vf u_out = select(u_inside, zero, d_uc), v_out = select(v_inside, zero, d_vc);
      sum_fx += zero_unless(on, fma(d_x, p.u, d_k1 * p.inv_z) - u_out * p.u_clamped * (1.0f / s.fx));
      sum_fy += zero_unless(on, fma(d_y, p.v, d_k2 * p.inv_z) - v_out * p.v_clamped * (1.0f / s.fy));
      sum_cx += zero_unless(on, d_x - u_out * (1.0f / s.fx));
      sum_cy += zero_unless(on, d_y - v_out * (1.0f / s.fy));
      sum_center = sum_center - d_center;
    }
  }
  if (camera) {
    for (int k = 0; k < 9; k++) camera_sums[k] = hsum(sum_R[k]);
    for (int k = 0; k < 3; k++) camera_sums[9 + k] = hsum(sum_t[k]);
    camera_sums[12] = hsum(sum_fx); camera_sums[13] = hsum(sum_fy);
    camera_sums[14] = hsum(sum_cx); camera_sums[15] = hsum(sum_cy);
    camera_sums[16] = hsum(sum_center.x); camera_sums[17] = hsum(sum_center.y); camera_sums[18] = hsum(sum_center.z);
  }
}

void backward_gaussians(const Scene* scene, int64_t begin, int64_t end, const Splat* splats, const Slot* slots,
                        const uint8_t* used, const Gradients* gradients, double* camera_sums) {
  if (gradients->adam)
    backward_gaussians_of<true>(scene, begin, end, splats, slots, used, gradients, camera_sums);
  else
    backward_gaussians_of<false>(scene, begin, end, splats, slots, used, gradients, camera_sums);
}

}  // namespace
