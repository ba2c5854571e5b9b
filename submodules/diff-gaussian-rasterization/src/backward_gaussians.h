// Gradients of the splats back to the Gaussians, W at a time, and their step of Adam on the way.
#pragma once
#include <stddef.h>

#include "adam.h"
#include "kernels.h"
#include "projection.h"
#include "spherical_harmonics.h"
#include "vectors.h"

namespace {

// The sums of the slots of one Gaussian, in the order of its tiles whatever the number of threads, and its colour in the
// places that are free. Few Gaussians have more than four: for those with fewer nothing is added in place of a branch.
enum { USUAL_SLOTS = 4, SLOTS_AHEAD = 64 };
INLINE void sum_slots(const Splat& splat, const Slot* slots, float row[16]) {
  static const Slot none = {};
  const Slot* own = slots + splat.pair_start;
  ask_for(own + SLOTS_AHEAD);
  ask_for(own + SLOTS_AHEAD + 1);
  vf sums[16 / W];
  for (int f = 0; f < 16 / W; f++) sums[f] = set1(0.0f);
  for (int32_t j = 0; j < USUAL_SLOTS; j++) {
    const float* numbers = j < splat.pair_count ? own[j].v : none.v;
    for (int f = 0; f < 16 / W; f++) sums[f] += load(numbers + f * W);
  }
  for (int32_t j = USUAL_SLOTS; j < splat.pair_count; j++)
    for (int f = 0; f < 16 / W; f++) sums[f] += load(own[j].v + f * W);
#if defined(STILLSPLAT_AVX512)  // in the register: whoever loads the row would have to wait for single numbers
  const __m512i from = _mm512_setr_epi32(0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0);
  static_assert(offsetof(Splat, r) == 24 && offsetof(Splat, b) == 32 && SUM_FREE == 3, "as in the mask and the places");
  store(row, (vf)_mm512_mask_permutexvar_ps((__m512)sums[0], 0x0888, from, (__m512)load(&splat.x)));
#else
  for (int f = 0; f < 16 / W; f++) store(row + f * W, sums[f]);
  row[SUM_FREE] = splat.r; row[SUM_FREE + 4] = splat.g; row[SUM_FREE + 8] = splat.b;
#endif
}

// The gradient to one Gaussian, or in place of it a step of Adam: vectors in the order of FusedAdam's tensors.
enum { TO_MEANS = 0, TO_ROTATIONS = 3, TO_SCALES = 7, TO_OPACITIES = 10, TO_SH = 11, SLOPES = TO_SH + 48 };

// Every tensor that is optimized, with its moments, and the rate of each of its numbers.
struct Streams {
  AdamRates rates[6];
  int count = 0;  // of tensors
  bool packed = true;  // all without gaps between the Gaussians of a group
  struct Tensor {
    Strided parts[3];
    int terms, components, slope;
    const AdamRates *rates, *rates_above;  // of the first term and of those above
  } each[5];
};

const int TENSOR_SLOPES[5] = {TO_MEANS, TO_ROTATIONS, TO_SCALES, TO_OPACITIES, TO_SH}, TENSOR_WIDTHS[5] = {3, 4, 3, 1, 3};

// The moments of a group lie together; they are asked for a few lines at a time between the work that comes before.
struct Coming {
  const float* place[2] = {nullptr, nullptr};
  int64_t lines = 0;
  __attribute__((always_inline)) void some() {
    const int64_t now = lines < 8 ? lines : 8;
    for (int64_t k = 0; k < now; k++)
      for (const float*& line : place) {
        ask_for(line);
        line += GROUP;
      }
    lines -= now;
  }
};
INLINE Coming coming_moments(const Streams& s, int64_t i) {
  Coming coming;
  if (s.count && grouped(s.each[0].parts[1])) {
    for (int m = 0; m < 2; m++) coming.place[m] = place_of(s.each[0].parts[1 + m], i);
    coming.lines = s.each[0].parts[1].stride_group / GROUP;
  }
  return coming;
}

INLINE void collect_streams(const Gradients& g, int sh_terms, Streams& s) {
  const FusedAdam& a = *g.adam;
  const Strided* parameters[5] = {&g.means, &g.rotations, &g.scales, &g.opacities, &g.sh};
  for (int k = 0; k < 6; k++)
    s.rates[k] = adam_rates(a.rates_by_bias1[k], a.inv_root_bias2, a.beta1, a.beta2, a.epsilon);
  for (int t = 0; t < 5; t++) {
    if (!parameters[t]->data) continue;
    Streams::Tensor& tensor = s.each[s.count++];
    tensor = {{*parameters[t], a.first[t], a.second[t]}, t == 4 ? sh_terms : 1, TENSOR_WIDTHS[t], TENSOR_SLOPES[t],
              &s.rates[t], &s.rates[5]};
    for (const Strided& part : tensor.parts) s.packed &= part.stride_n == 1;
  }
}

// Whatever the layout.
__attribute__((noinline)) void adam_anywhere(const Streams::Tensor& tensor, int64_t i, int valid, const vf* slope) {
  vf values[3][48];
  for (int part = 0; part < 3; part++)
    gather(tensor.parts[part], i, valid, tensor.terms, tensor.components, (float*)values[part]);
  for (int k = 0; k < tensor.terms * tensor.components; k++)
    values[0][k] = adam_lanes(k < tensor.components ? *tensor.rates : *tensor.rates_above, values[0][k], slope[k],
                              values[1][k], values[2][k]);
  for (int part = 0; part < 3; part++)
    scatter(tensor.parts[part], i, valid, tensor.terms, tensor.components, (const float*)values[part]);
}

// Where Gaussians lie without gaps. Grouped moments have been asked for; with them the harmonics of the next group are.
template <bool GROUPED>
INLINE void adam_in_place(const Streams::Tensor& tensor, int64_t i, const vf* slope) {
  const Strided *parameter = &tensor.parts[0], *first = &tensor.parts[1], *second = &tensor.parts[2];
  float *p_term = place_of(*parameter, i), *m_term = place_of(*first, i), *v_term = place_of(*second, i);
  const int64_t next = GROUPED && grouped(*parameter) ? parameter->stride_group : 0;
  for (int k = 0; k < tensor.terms; k++) {
    const AdamRates rates = k == 0 ? *tensor.rates : *tensor.rates_above;
    float *p = p_term, *m = m_term, *v = v_term;
    for (int c = 0; c < tensor.components; c++) {
      if (GROUPED) {
        if (next) ask_for(p + next);
      } else {
        ask_for(m + AHEAD);
        ask_for(v + AHEAD);
      }
      vf m_lanes = load(m), v_lanes = load(v);
      store(p, adam_lanes(rates, load(p), *slope++, m_lanes, v_lanes));
      store(m, m_lanes);
      store(v, v_lanes);
      p += parameter->stride_c;
      m += first->stride_c;
      v += second->stride_c;
    }
    p_term += parameter->stride_k;
    m_term += first->stride_k;
    v_term += second->stride_k;
  }
}

INLINE void adam_streams(const Streams& s, int64_t i, int valid, const vf* slopes) {
  for (int j = 0; j < s.count; j++) {
    const Streams::Tensor& tensor = s.each[j];
    const vf* slope = slopes + tensor.slope;
    if (!s.packed || valid < W)
      adam_anywhere(tensor, i, valid, slope);
    else if (grouped(tensor.parts[1]))
      adam_in_place<true>(tensor, i, slope);
    else
      adam_in_place<false>(tensor, i, slope);
  }
}

// The slopes of the sums of opacities and scales, for logits and logarithms; all Gaussians feel them, seen or not.
INLINE void add_pulls(const Gradients& g, int flags, int64_t i, int valid, vf* slopes) {
  const FusedAdam& a = *g.adam;
  float room[3 * W] __attribute__((aligned(64)));
  if (a.opacity_pull != 0.0f && (flags & FLAG_OPACITY_LOGITS)) {
    const vf opacity = 1.0f / (1.0f + exp_any(-at(lanes_of(g.opacities, i, valid, 1, 1, room), 0, 0)));
    slopes[TO_OPACITIES] = fma(set1(a.opacity_pull), opacity * (1.0f - opacity), slopes[TO_OPACITIES]);
  }
  if (a.scale_pull != 0.0f && (flags & FLAG_LOG_SCALES)) {
    const Lanes scales = lanes_of(g.scales, i, valid, 1, 3, room);
    for (int k = 0; k < 3; k++)
      slopes[TO_SCALES + k] = fma(set1(a.scale_pull), exp_any(at(scales, 0, k)), slopes[TO_SCALES + k]);
  }
}

INLINE void deliver(const Gradients& g, const Streams& streams, int flags, int64_t i, int valid, int sh_terms,
                    vf* slopes) {
  if (g.adam) {
    add_pulls(g, flags, i, valid, slopes);
    adam_streams(streams, i, valid, slopes);
    return;
  }
  const Strided* targets[5] = {&g.means, &g.rotations, &g.scales, &g.opacities, &g.sh};
  for (int t = 0; t < 5; t++)
    if (targets[t]->data)
      write(*targets[t], i, valid, t == 4 ? sh_terms : 1, TENSOR_WIDTHS[t], slopes + TENSOR_SLOPES[t]);
}

void backward_gaussians(const Scene* scene, int64_t begin, int64_t end, const Splat* splats, const Slot* slots,
                        const Gradients* gradients, double* camera_sums) {
  const Scene& s = *scene;
  const Gradients& g = *gradients;
  const int sh_terms = s.sh.data ? (s.sh_degree + 1) * (s.sh_degree + 1) : 0;
  const vf zero = set1(0.0f);
  Streams streams;
  if (g.adam) collect_streams(g, sh_terms, streams);
  vf sum_R[9], sum_t[3], sum_fx = zero, sum_fy = zero, sum_cx = zero, sum_cy = zero;
  Vec3 sum_center = {zero, zero, zero};
  for (int k = 0; k < 9; k++) sum_R[k] = zero;
  for (int k = 0; k < 3; k++) sum_t[k] = zero;
  const bool camera = (s.flags & FLAG_CAMERA_GRADIENT) != 0;
  const Limits lim = jacobian_limits(s);
  for (int64_t i = begin; i < end; i += W) {
    int valid = end - i < W ? (int)(end - i) : W;
    float sums[W][16] __attribute__((aligned(64)));
    vf in[16];
    vf slopes[SLOPES];
    bool any = false;
    for (int l = 0; l < valid; l++) any |= splats[i + l].pair_count > 0;
    Coming coming = coming_moments(streams, i);
    coming.some();
    Projected p;
    if (any) {
      project_lanes(s, i, valid, p);
      any = mask_bits(p.visible) != 0;
    }
    if (!any) {
      for (vf& slope : slopes) slope = zero;
      deliver(g, streams, s.flags, i, valid, sh_terms, slopes);
      if (g.colors.data) write(g.colors, i, valid, 1, 3, slopes);
      if (g.covariances.data) write(g.covariances, i, valid, 1, 6, slopes);
      if (g.screen_means.data) write(g.screen_means, i, valid, 1, 2, slopes);
      continue;
    }
    for (int l = 0; l < W; l++) sum_slots(splats[i + (l < valid ? l : valid - 1)], slots, sums[l]);
    coming.some();
    transpose_to_fields(sums, in);
    // lanes that are not visible may hold anything: keep their sums at 0 and their values finite
    vm on = p.visible;
    vf H = in[SUM_H], Hx = in[SUM_HX], Hy = in[SUM_HY], Hxx = in[SUM_HXX], Hxy = in[SUM_HXY], Hyy = in[SUM_HYY];
    Vec3 d_color = {in[SUM_R], in[SUM_G], in[SUM_B]};
    vf d_depth = in[SUM_Z];
    if (s.flags & FLAG_INVERSE_DEPTH) d_depth = -(d_depth * p.inv_z * p.inv_z);
    vf a = p.cov_yy * p.inv_det, b = -(p.cov_xy * p.inv_det), c = p.cov_xx * p.inv_det;  // the conic
    vf d_x = zero_unless(on, fma(a, Hx, b * Hy)), d_y = zero_unless(on, fma(b, Hx, c * Hy));
    if (g.screen_means.data) {
      const vf d_screen[2] = {d_x, d_y};
      write(g.screen_means, i, valid, 1, 2, d_screen);
    }
    coming.some();
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
    slopes[TO_OPACITIES] = zero_unless(on, d_opacity);
    coming.some();
    Vec3 d_t1, d_t2;
    if (s.covariances.data) {
      vf m[6];
      float room[6 * W] __attribute__((aligned(64)));
      const Lanes given = lanes_of(s.covariances, i, valid, 1, 6, room);
      for (int k = 0; k < 6; k++) m[k] = at(given, 0, k);
      Vec3 t1 = p.t1, t2 = p.t2;
      Vec3 e1 = s_xx * t1 + s_xy * t2, e2 = s_xy * t1 + s_yy * t2;  // S T
      if (g.covariances.data) {
        const vf d_covariance[6] = {
            zero_unless(on, fma(t1.x, e1.x, t2.x * e2.x)), zero_unless(on, 2.0f * fma(t1.x, e1.y, t2.x * e2.y)),
            zero_unless(on, 2.0f * fma(t1.x, e1.z, t2.x * e2.z)), zero_unless(on, fma(t1.y, e1.y, t2.y * e2.y)),
            zero_unless(on, 2.0f * fma(t1.y, e1.z, t2.y * e2.z)), zero_unless(on, fma(t1.z, e1.z, t2.z * e2.z))};
        write(g.covariances, i, valid, 1, 6, d_covariance);
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
      for (int k = 0; k < 3; k++) {
        vf chain = (s.flags & FLAG_LOG_SCALES) ? scales[k] : set1(s.scale_modifier);
        slopes[TO_SCALES + k] = zero_unless(on, d_scales[k] * chain);
      }
      if (g.rotations.data) {
        vf w = p.qw, x = p.qx, y = p.qy, z = p.qz;
        Vec3 A = d_axis[0], B = d_axis[1], C = d_axis[2];  // gradients of the columns of the rotation matrix
        vf dw = 2.0f * (z * (A.y - B.x) + y * (C.x - A.z) + x * (B.z - C.y));
        vf dx = 2.0f * (y * (A.y + B.x) + z * (A.z + C.x) + w * (B.z - C.y)) - 4.0f * x * (B.y + C.z);
        vf dy = 2.0f * (x * (A.y + B.x) + z * (B.z + C.y) + w * (C.x - A.z)) - 4.0f * y * (A.x + C.z);
        vf dz = 2.0f * (x * (A.z + C.x) + y * (B.z + C.y) + w * (A.y - B.x)) - 4.0f * z * (A.x + B.y);
        vf radial = fma(dw, w, fma(dx, x, fma(dy, y, dz * z)));
        slopes[TO_ROTATIONS + 0] = zero_unless(on, p.q_inv_norm * fnma(radial, w, dw));
        slopes[TO_ROTATIONS + 1] = zero_unless(on, p.q_inv_norm * fnma(radial, x, dx));
        slopes[TO_ROTATIONS + 2] = zero_unless(on, p.q_inv_norm * fnma(radial, y, dy));
        slopes[TO_ROTATIONS + 3] = zero_unless(on, p.q_inv_norm * fnma(radial, z, dz));
      }
    }
    coming.some();
    vf k1 = s.fx * p.inv_z, k2 = s.fy * p.inv_z;
    vf d_k1 = dot(d_t1, p.direction1), d_k2 = dot(d_t2, p.direction2);
    vf d_uc = -(k1 * dot(d_t1, p.row2)), d_vc = -(k2 * dot(d_t2, p.row2));
    vm u_inside = both(gt(p.u, set1(lim.u_low)), gt(set1(lim.u_high), p.u));
    vm v_inside = both(gt(p.v, set1(lim.v_low)), gt(set1(lim.v_high), p.v));
    vf d_u = select(u_inside, d_uc, zero) + s.fx * d_x, d_v = select(v_inside, d_vc, zero) + s.fy * d_y;
    Vec3 d_point = {d_u * p.inv_z, d_v * p.inv_z,
                    d_depth - p.inv_z * (d_u * p.u + d_v * p.v + d_k1 * k1 + d_k2 * k2)};
    d_point = {zero_unless(on, d_point.x), zero_unless(on, d_point.y), zero_unless(on, d_point.z)};
    coming.some();
    Vec3 d_mean = d_point.x * p.row0 + d_point.y * p.row1 + d_point.z * p.row2;
    Vec3 d_center = {zero, zero, zero};
    if (s.sh.data) {
      vf inv_length;
      Vec3 direction = view_direction(s, p.mean, inv_length);
      // a colour that was clamped to 0 has no gradient
      d_color = {zero_unless(both(on, gt(in[SUM_FREE], zero)), d_color.x),
                 zero_unless(both(on, gt(in[SUM_FREE + 4], zero)), d_color.y),
                 zero_unless(both(on, gt(in[SUM_FREE + 8], zero)), d_color.z)};
      vf Y[16], a_k[16];
      sh_basis(s.sh_degree, direction, Y);
      coming.some();
      float room[48 * W] __attribute__((aligned(64)));
      const Lanes sh = lanes_of(s.sh, i, valid, sh_terms, 3, room);
      for (int k = 0; k < sh_terms; k++) {
        a_k[k] = dot(vector_at(sh, k), d_color);
        slopes[TO_SH + 3 * k] = Y[k] * d_color.x;
        slopes[TO_SH + 3 * k + 1] = Y[k] * d_color.y;
        slopes[TO_SH + 3 * k + 2] = Y[k] * d_color.z;
      }
      coming.some();
      Vec3 d_dir = sh_direction_gradient(s.sh_degree, direction, a_k);
      d_dir = inv_length * (d_dir - dot(d_dir, direction) * direction);
      d_dir = {zero_unless(on, d_dir.x), zero_unless(on, d_dir.y), zero_unless(on, d_dir.z)};
      d_mean = d_mean + d_dir;
      d_center = d_dir;
    } else if (g.colors.data) {
      const vf d_colors[3] = {d_color.x, d_color.y, d_color.z};
      write(g.colors, i, valid, 1, 3, d_colors);
    }
    slopes[TO_MEANS] = d_mean.x;
    slopes[TO_MEANS + 1] = d_mean.y;
    slopes[TO_MEANS + 2] = d_mean.z;
    deliver(g, streams, s.flags, i, valid, sh_terms, slopes);
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

}  // namespace
