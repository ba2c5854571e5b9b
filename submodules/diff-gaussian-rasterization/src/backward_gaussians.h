// Backward pass from the splats to the Gaussians, W at a time, optionally with a step of Adam for each Gaussian.
#pragma once
#include <stddef.h>

#include "adam.h"
#include "kernels.h"
#include "projection.h"
#include "vectors.h"

namespace {

// Adds up the slots of one Gaussian, in the order of its tiles, so that the result does not depend on the number of
// threads. The unused elements get the splat's color and the bits of its number of pairs. Few Gaussians have more than USUAL_SLOTS slots; where there are
// fewer, zeros are added, which is cheaper than a branch.
enum { USUAL_SLOTS = 4, PREFETCH_SLOTS = 64 };
INLINE void sum_slots(const Splat& splat, const Slot* slots, float row[16]) {
  static const Slot none = {};
  const Slot* own = slots + splat.pair_start;
  prefetch(own + PREFETCH_SLOTS);
  prefetch(own + PREFETCH_SLOTS + 1);
  vf sums[16 / W];
  for (int f = 0; f < 16 / W; f++) sums[f] = set1(0.0f);
  for (int32_t j = 0; j < USUAL_SLOTS; j++) {
    const float* numbers = j < splat.pair_count ? own[j].v : none.v;
    for (int f = 0; f < 16 / W; f++) sums[f] += load(numbers + f * W);
  }
  for (int32_t j = USUAL_SLOTS; j < splat.pair_count; j++)
    for (int f = 0; f < 16 / W; f++) sums[f] += load(own[j].v + f * W);
#if defined(STILLSPLAT_AVX512)  // in the register: loading the row after storing single floats into it would stall
  const __m512i from = _mm512_setr_epi32(0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 15);
  static_assert(offsetof(Splat, r) == 24 && offsetof(Splat, b) == 32 && offsetof(Splat, pair_count) == 60 && SUM_FREE == 3,
                "the mask and the permutation");
  store(row, (vf)_mm512_mask_permutexvar_ps((__m512)sums[0], 0x8888, from, (__m512)load(&splat.x)));
#else
  for (int f = 0; f < 16 / W; f++) store(row + f * W, sums[f]);
  row[SUM_FREE] = splat.r; row[SUM_FREE + 4] = splat.g; row[SUM_FREE + 8] = splat.b;
  memcpy(row + SUM_FREE + 12, &splat.pair_count, sizeof splat.pair_count);
#endif
}

// Positions of the gradients to each tensor of a Gaussian, in the order of FusedAdam's tensors.
enum { TO_MEANS = 0, TO_ROTATIONS = 3, TO_SCALES = 7, TO_OPACITIES = 10, TO_SH = 11, GRADIENT_VECTORS = TO_SH + 48 };

// The tensors that are optimized, with their moments and Adam constants.
struct AdamTensors {
  AdamConstants constants[6];
  int count = 0;
  bool contiguous = true;  // in all tensors the Gaussians of a group are contiguous
  struct Tensor {
    Strided parts[3];  // parameter, exp_avg, exp_avg_sq
    int terms, components;
    int first_gradient;  // position among the gradients of a Gaussian
    const AdamConstants *first_term, *other_terms;
  } tensors[5];
};

const int TENSOR_GRADIENTS[5] = {TO_MEANS, TO_ROTATIONS, TO_SCALES, TO_OPACITIES, TO_SH}, TENSOR_WIDTHS[5] = {3, 4, 3, 1, 3};

// Prefetches the moments of a group (grouped layout), a few cache lines per call, between the computations that precede
// the step of Adam.
struct MomentPrefetch {
  const float* next[2] = {nullptr, nullptr};
  int64_t lines = 0;  // left
  __attribute__((always_inline)) void advance() {
    const int64_t now = lines < 8 ? lines : 8;
    for (int64_t k = 0; k < now; k++)
      for (const float*& line : next) {
        prefetch(line);
        line += GROUP;
      }
    lines -= now;
  }
};
INLINE MomentPrefetch start_moment_prefetch(const AdamTensors& s, int64_t i) {
  MomentPrefetch moment_prefetch;
  if (s.count && grouped(s.tensors[0].parts[1])) {
    for (int m = 0; m < 2; m++) moment_prefetch.next[m] = address_of(s.tensors[0].parts[1 + m], i);
    moment_prefetch.lines = s.tensors[0].parts[1].stride_group / GROUP;
  }
  return moment_prefetch;
}

INLINE void collect_adam_tensors(const Gradients& g, int sh_terms, AdamTensors& s) {
  const FusedAdam& a = *g.adam;
  const Strided* parameters[5] = {&g.means, &g.rotations, &g.scales, &g.opacities, &g.sh};
  for (int k = 0; k < 6; k++)
    s.constants[k] = adam_constants(a.step_sizes[k], a.inv_root_bias_correction2, a.beta1, a.beta2, a.epsilon);
  for (int t = 0; t < 5; t++) {
    if (!parameters[t]->data) continue;
    AdamTensors::Tensor& tensor = s.tensors[s.count++];
    tensor = {{*parameters[t], a.exp_avg[t], a.exp_avg_sq[t]}, t == 4 ? sh_terms : 1, TENSOR_WIDTHS[t], TENSOR_GRADIENTS[t],
              &s.constants[t], &s.constants[5]};
    for (const Strided& part : tensor.parts) s.contiguous &= part.stride_n == 1;
  }
}

// A step of Adam for W Gaussians of one tensor, in any layout.
__attribute__((noinline)) void adam_any_layout(const AdamTensors::Tensor& tensor, int64_t i, int valid, const vf* grad) {
  vf values[3][48];
  for (int part = 0; part < 3; part++)
    gather(tensor.parts[part], i, valid, tensor.terms, tensor.components, (float*)values[part]);
  for (int k = 0; k < tensor.terms * tensor.components; k++)
    values[0][k] = adam_lanes(k < tensor.components ? *tensor.first_term : *tensor.other_terms, values[0][k], grad[k],
                              values[1][k], values[2][k]);
  for (int part = 0; part < 3; part++)
    scatter(tensor.parts[part], i, valid, tensor.terms, tensor.components, (const float*)values[part]);
}

// The same where Gaussians are contiguous. In the grouped layout the moments have been prefetched already, and the spherical
// harmonics coefficients of the next group are prefetched here.
template <bool GROUPED>
INLINE void adam_contiguous(const AdamTensors::Tensor& tensor, int64_t i, const vf* grad) {
  const Strided *parameter = &tensor.parts[0], *exp_avg = &tensor.parts[1], *exp_avg_sq = &tensor.parts[2];
  float *p_term = address_of(*parameter, i), *m_term = address_of(*exp_avg, i), *v_term = address_of(*exp_avg_sq, i);
  const int64_t next = GROUPED && grouped(*parameter) ? parameter->stride_group : 0;
  for (int k = 0; k < tensor.terms; k++) {
    const AdamConstants constants = k == 0 ? *tensor.first_term : *tensor.other_terms;
    float *p = p_term, *m = m_term, *v = v_term;
    for (int c = 0; c < tensor.components; c++) {
      if (GROUPED) {
        if (next) prefetch(p + next);
      } else {
        prefetch(m + PREFETCH_DISTANCE);
        prefetch(v + PREFETCH_DISTANCE);
      }
      vf m_lanes = load(m), v_lanes = load(v);
      store(p, adam_lanes(constants, load(p), *grad++, m_lanes, v_lanes));
      store(m, m_lanes);
      store(v, v_lanes);
      p += parameter->stride_c;
      m += exp_avg->stride_c;
      v += exp_avg_sq->stride_c;
    }
    p_term += parameter->stride_k;
    m_term += exp_avg->stride_k;
    v_term += exp_avg_sq->stride_k;
  }
}

INLINE void adam_step_all(const AdamTensors& s, int64_t i, int valid, const vf* grad) {
  for (int j = 0; j < s.count; j++) {
    const AdamTensors::Tensor& tensor = s.tensors[j];
    const vf* own = grad + tensor.first_gradient;
    if (!s.contiguous || valid < W)
      adam_any_layout(tensor, i, valid, own);
    else if (grouped(tensor.parts[1]))
      adam_contiguous<true>(tensor, i, own);
    else
      adam_contiguous<false>(tensor, i, own);
  }
}

// Adds the gradients of the regularization: the weighted sums of all opacities and of all scales, with respect to logits
// and logarithms. It applies to all Gaussians, visible or not.
INLINE void add_regularization(const Gradients& g, int flags, int64_t i, int valid, vf* grad) {
  const FusedAdam& a = *g.adam;
  float scratch[3 * W] __attribute__((aligned(64)));
  if (a.opacity_regularization != 0.0f && (flags & FLAG_OPACITY_LOGITS)) {
    const vf opacity = 1.0f / (1.0f + exp_any(-at(lanes_of(g.opacities, i, valid, 1, 1, scratch), 0, 0)));
    grad[TO_OPACITIES] = fma(set1(a.opacity_regularization), opacity * (1.0f - opacity), grad[TO_OPACITIES]);
  }
  if (a.scale_regularization != 0.0f && (flags & FLAG_LOG_SCALES)) {
    const Lanes scales = lanes_of(g.scales, i, valid, 1, 3, scratch);
    for (int k = 0; k < 3; k++)
      grad[TO_SCALES + k] = fma(set1(a.scale_regularization), exp_any(at(scales, 0, k)), grad[TO_SCALES + k]);
  }
}

// Takes the step of Adam, or writes the gradients where no step is wanted.
INLINE void apply_gradients(const Gradients& g, const AdamTensors& adam, int flags, int64_t i, int valid, int sh_terms,
                            vf* grad) {
  if (g.adam) {
    add_regularization(g, flags, i, valid, grad);
    adam_step_all(adam, i, valid, grad);
    return;
  }
  const Strided* targets[5] = {&g.means, &g.rotations, &g.scales, &g.opacities, &g.sh};
  for (int t = 0; t < 5; t++)
    if (targets[t]->data)
      write(*targets[t], i, valid, t == 4 ? sh_terms : 1, TENSOR_WIDTHS[t], grad + TENSOR_GRADIENTS[t]);
}

void backward_gaussians(const Scene* scene, int64_t begin, int64_t end, const Splat* splats, const Slot* slots,
                        const Gradients* gradients, double* camera_sums) {
  const Scene& s = *scene;
  const Gradients& g = *gradients;
  const int sh_terms = s.sh.data ? (s.sh_degree + 1) * (s.sh_degree + 1) : 0;
  const vf zero = set1(0.0f);
  AdamTensors adam;
  if (g.adam) collect_adam_tensors(g, sh_terms, adam);
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
    vf grad[GRADIENT_VECTORS];
    bool any = false;
    for (int l = 0; l < valid; l++) any |= splats[i + l].pair_count > 0;
    MomentPrefetch moment_prefetch = start_moment_prefetch(adam, i);
    moment_prefetch.advance();
    Projected p;
    if (any) {
      project_lanes(s, i, valid, p);
      any = mask_bits(p.visible) != 0;
    }
    if (!any) {
      for (vf& value : grad) value = zero;
      apply_gradients(g, adam, s.flags, i, valid, sh_terms, grad);
      if (g.colors.data) write(g.colors, i, valid, 1, 3, grad);
      if (g.covariances.data) write(g.covariances, i, valid, 1, 6, grad);
      if (g.screen_means.data) write(g.screen_means, i, valid, 1, 2, grad);
      continue;
    }
    for (int l = 0; l < W; l++) sum_slots(splats[i + (l < valid ? l : valid - 1)], slots, sums[l]);
    moment_prefetch.advance();
    transpose_to_fields(sums, in);
    // lanes without pairs may hold any value: zero_unless keeps NaN out of their gradients
    vm on = both(p.visible, not_zero(bits(in[SUM_FREE + 12])));
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
    moment_prefetch.advance();
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
    grad[TO_OPACITIES] = zero_unless(on, d_opacity);
    moment_prefetch.advance();
    Vec3 d_t1, d_t2;
    if (s.covariances.data) {
      vf m[6];
      float scratch[6 * W] __attribute__((aligned(64)));
      const Lanes given = lanes_of(s.covariances, i, valid, 1, 6, scratch);
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
        grad[TO_SCALES + k] = zero_unless(on, d_scales[k] * chain);
      }
      if (g.rotations.data) {
        vf w = p.qw, x = p.qx, y = p.qy, z = p.qz;
        Vec3 A = d_axis[0], B = d_axis[1], C = d_axis[2];  // gradients of the columns of the rotation matrix
        vf dw = 2.0f * (z * (A.y - B.x) + y * (C.x - A.z) + x * (B.z - C.y));
        vf dx = 2.0f * (y * (A.y + B.x) + z * (A.z + C.x) + w * (B.z - C.y)) - 4.0f * x * (B.y + C.z);
        vf dy = 2.0f * (x * (A.y + B.x) + z * (B.z + C.y) + w * (C.x - A.z)) - 4.0f * y * (A.x + C.z);
        vf dz = 2.0f * (x * (A.z + C.x) + y * (B.z + C.y) + w * (A.y - B.x)) - 4.0f * z * (A.x + B.y);
        vf radial = fma(dw, w, fma(dx, x, fma(dy, y, dz * z)));
        grad[TO_ROTATIONS + 0] = zero_unless(on, p.q_inv_norm * fnma(radial, w, dw));
        grad[TO_ROTATIONS + 1] = zero_unless(on, p.q_inv_norm * fnma(radial, x, dx));
        grad[TO_ROTATIONS + 2] = zero_unless(on, p.q_inv_norm * fnma(radial, y, dy));
        grad[TO_ROTATIONS + 3] = zero_unless(on, p.q_inv_norm * fnma(radial, z, dz));
      }
    }
    moment_prefetch.advance();
    vf k1 = s.fx * p.inv_z, k2 = s.fy * p.inv_z;
    vf d_k1 = dot(d_t1, p.direction1), d_k2 = dot(d_t2, p.direction2);
    vf d_uc = -(k1 * dot(d_t1, p.row2)), d_vc = -(k2 * dot(d_t2, p.row2));
    vm u_inside = both(gt(p.u, set1(lim.u_low)), gt(set1(lim.u_high), p.u));
    vm v_inside = both(gt(p.v, set1(lim.v_low)), gt(set1(lim.v_high), p.v));
    vf d_u = select(u_inside, d_uc, zero) + s.fx * d_x, d_v = select(v_inside, d_vc, zero) + s.fy * d_y;
    Vec3 d_point = {d_u * p.inv_z, d_v * p.inv_z,
                    d_depth - p.inv_z * (d_u * p.u + d_v * p.v + d_k1 * k1 + d_k2 * k2)};
    d_point = {zero_unless(on, d_point.x), zero_unless(on, d_point.y), zero_unless(on, d_point.z)};
    moment_prefetch.advance();
    Vec3 d_mean = d_point.x * p.row0 + d_point.y * p.row1 + d_point.z * p.row2;
    Vec3 d_center = {zero, zero, zero};
    if (s.sh.data) {
      vf inv_length;
      Vec3 direction = view_direction(s, p.mean, inv_length);
      direction = {zero_unless(on, direction.x), zero_unless(on, direction.y), zero_unless(on, direction.z)};
      // a color that was clamped to 0 has no gradient
      d_color = {zero_unless(both(on, gt(in[SUM_FREE], zero)), d_color.x),
                 zero_unless(both(on, gt(in[SUM_FREE + 4], zero)), d_color.y),
                 zero_unless(both(on, gt(in[SUM_FREE + 8], zero)), d_color.z)};
      vf Y[16], a_k[16];
      sh_basis(s.sh_degree, direction, Y);
      moment_prefetch.advance();
      float scratch[48 * W] __attribute__((aligned(64)));
      const Lanes sh = lanes_of(s.sh, i, valid, sh_terms, 3, scratch);
      for (int k = 0; k < sh_terms; k++) {
        a_k[k] = dot(vector_at(sh, k), d_color);
        grad[TO_SH + 3 * k] = Y[k] * d_color.x;
        grad[TO_SH + 3 * k + 1] = Y[k] * d_color.y;
        grad[TO_SH + 3 * k + 2] = Y[k] * d_color.z;
      }
      moment_prefetch.advance();
      Vec3 d_dir = sh_direction_gradient(s.sh_degree, direction, a_k);
      d_dir = inv_length * (d_dir - dot(d_dir, direction) * direction);
      d_dir = {zero_unless(on, d_dir.x), zero_unless(on, d_dir.y), zero_unless(on, d_dir.z)};
      d_mean = d_mean + d_dir;
      d_center = d_dir;
    } else if (g.colors.data) {
      const vf d_colors[3] = {d_color.x, d_color.y, d_color.z};
      write(g.colors, i, valid, 1, 3, d_colors);
    }
    grad[TO_MEANS] = d_mean.x;
    grad[TO_MEANS + 1] = d_mean.y;
    grad[TO_MEANS + 2] = d_mean.z;
    apply_gradients(g, adam, s.flags, i, valid, sh_terms, grad);
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
