// Backward pass from the gradient sums of the splats to the Gaussians and the camera, one Gaussian per thread. With Adam,
// each Gaussian takes its step here, and gradients are never stored.
#pragma once
#include "adam.cuh"
#include "projection.cuh"

enum { GRADIENT_THREADS = 128 };

// Destination of the gradient of a tensor: a gradient tensor or, with Adam, the parameter and its moments.
struct Sink {
  Strided target, exp_avg, exp_avg_sq;
  float learning_rate, higher_terms_learning_rate;  // the latter for all coefficients but the first
};

template <bool FUSED>
__device__ __forceinline__ Sink make_sink(const Frame& f, const View& view, const Strided& target, int tensor) {
  Sink s = {target, target, target, 0.0f, 0.0f};
  if (FUSED) {
    s.exp_avg = f.exp_avg[tensor];
    s.exp_avg_sq = f.exp_avg_sq[tensor];
    s.learning_rate = view.learning_rates[tensor];
    s.higher_terms_learning_rate = view.learning_rates[5];
  }
  return s;
}

// Writes one number of a gradient or, with Adam (FUSED), takes the step for it.
template <bool FUSED>
__device__ __forceinline__ void apply_gradient(const Sink& s, const AdamConstants& adam, int i, int k, int c, float gradient) {
  if (!FUSED) {
    if (s.target.data) *element(s.target, i, k, c) = gradient;
    return;
  }
  float *parameter = element(s.target, i, k, c), *exp_avg = element(s.exp_avg, i, k, c), *exp_avg_sq = element(s.exp_avg_sq, i, k, c);
  float m = *exp_avg, v = *exp_avg_sq;
  *parameter = adam_step(adam, k == 0 ? s.learning_rate : s.higher_terms_learning_rate, *parameter, gradient, m, v);
  *exp_avg = m;
  *exp_avg_sq = v;
}

template <bool FUSED>
__device__ __forceinline__ void apply_gradient3(const Sink& s, const AdamConstants& adam, int i, int k, Vec3 gradient) {
  apply_gradient<FUSED>(s, adam, i, k, 0, gradient.x);
  apply_gradient<FUSED>(s, adam, i, k, 1, gradient.y);
  apply_gradient<FUSED>(s, adam, i, k, 2, gradient.z);
}

// Gradients of the regularization, the weighted sums of all scales and all opacities, with respect to logarithms and logits.
// They apply to all Gaussians, visible or not.
__device__ __forceinline__ Vec3 scale_regularization_gradient(const Frame& f, int i) {
  if (f.scale_regularization == 0.0f) return {0.0f, 0.0f, 0.0f};
  const Vec3 log_scales = get3(f.scales, i, 0);
  return f.scale_regularization * Vec3{expf(log_scales.x), expf(log_scales.y), expf(log_scales.z)};
}

__device__ __forceinline__ float opacity_regularization_gradient(const Frame& f, int i) {
  if (f.opacity_regularization == 0.0f) return 0.0f;
  const float opacity = 1.0f / (1.0f + expf(-get(f.opacities, i, 0, 0)));
  return f.opacity_regularization * opacity * (1.0f - opacity);
}

__device__ __forceinline__ void write_zeros(const Strided& t, int i, int components) {
  if (!t.data) return;
  for (int c = 0; c < components; c++) *element(t, i, 0, c) = 0.0f;
}

// Writes the sums over the block of CAMERA_SUMS values per thread to its row of the partial sums. The block that finishes
// last adds up the rows, always in the same order.
__device__ __forceinline__ void sum_camera(const Frame& f, const float (*sums)[GRADIENT_THREADS]) {
  enum { WARPS = GRADIENT_THREADS / 32 };
  __shared__ float by_warp[WARPS][CAMERA_SUMS];
  __shared__ bool is_last;
  __shared__ float totals[CAMERA_SUMS];
  for (int k = 0; k < CAMERA_SUMS; k++) {
    const float sum = warp_sum(sums[k][threadIdx.x]);
    if (lane_index() == 0) by_warp[threadIdx.x >> 5][k] = sum;
  }
  __syncthreads();
  if (threadIdx.x < CAMERA_SUMS) {
    float sum = 0.0f;
    for (int w = 0; w < WARPS; w++) sum += by_warp[w][threadIdx.x];
    f.camera_partials[(int64)blockIdx.x * CAMERA_SUMS + threadIdx.x] = sum;
    __threadfence();
  }
  __syncthreads();
  if (threadIdx.x == 0) is_last = atomicInc(f.camera_arrivals, gridDim.x - 1) == gridDim.x - 1;
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  for (int k = 0; k < CAMERA_SUMS; k++) {
    double sum = 0.0;
    for (int block = (int)threadIdx.x; block < (int)gridDim.x; block += GRADIENT_THREADS)
      sum += *(const volatile float*)&f.camera_partials[(int64)block * CAMERA_SUMS + k];
    const float of_warp = warp_sum((float)sum);
    if (lane_index() == 0) by_warp[threadIdx.x >> 5][k] = of_warp;
  }
  __syncthreads();
  if (threadIdx.x < CAMERA_SUMS) {
    float sum = 0.0f;
    for (int w = 0; w < WARPS; w++) sum += by_warp[w][threadIdx.x];
    totals[threadIdx.x] = sum;
  }
  __syncthreads();
  if (threadIdx.x < 16) {
    float value = totals[threadIdx.x];
    if (f.flags & FLAG_CENTER_FROM_POSE) {
      // the center is -R^T t: its gradient is passed on to R and t
      const float *R = f.view->rotation, *t = f.view->translation, *d_center = totals + 16;
      const int k = (int)threadIdx.x;
      if (k < 9) value -= t[k / 3] * d_center[k % 3];
      else if (k < 12)
        value -= R[3 * (k - 9)] * d_center[0] + R[3 * (k - 9) + 1] * d_center[1] + R[3 * (k - 9) + 2] * d_center[2];
    }
    // position in the 3x4 matrix [R t], row by row
    const int k = (int)threadIdx.x, place = k < 9 ? k / 3 * 4 + k % 3 : k < 12 ? (k - 9) * 4 + 3 : k;
    f.camera[place] = value;
  }
}

// Applies the gradients to spherical harmonics coefficients or colors. Returns the gradient to the mean that results from the
// viewing direction. A separate first step, because sixteen coefficients leave few registers for anything else.
template <bool FUSED>
__device__ __forceinline__ Vec3 color_gradients(const Frame& f, const View& view, const Sink& to_sh,
                                                const AdamConstants& adam, int i, Vec3 d_color) {
  if (!f.sh.data) {
    if (f.d_colors.data) {
      *element(f.d_colors, i, 0, 0) = d_color.x;
      *element(f.d_colors, i, 0, 1) = d_color.y;
      *element(f.d_colors, i, 0, 2) = d_color.z;
    }
    return {0.0f, 0.0f, 0.0f};
  }
  float inv_length;
  const Vec3 direction = view_direction(f, view, get3(f.means, i, 0), inv_length);
  const Vec3 color = gaussian_color(f, i, direction);
  d_color = {color.x > 0.0f ? d_color.x : 0.0f, color.y > 0.0f ? d_color.y : 0.0f, color.z > 0.0f ? d_color.z : 0.0f};
  float Y[16], a_k[16];
  sh_basis(f.sh_degree, direction, Y);
  const int terms = (f.sh_degree + 1) * (f.sh_degree + 1);
#pragma unroll
  for (int k = 0; k < 16; k++) {
    if (k >= terms) break;
    a_k[k] = dot(get3(f.sh, i, k), d_color);  // before Adam changes the coefficient
    apply_gradient3<FUSED>(to_sh, adam, i, k, Y[k] * d_color);
  }
  const Vec3 d_direction = sh_direction_gradient(f.sh_degree, direction, a_k);
  return inv_length * (d_direction - dot(d_direction, direction) * direction);
}

template <bool FUSED>
__device__ __forceinline__ void gaussian_gradients_of(const Frame& f) {
  const View& view = *f.view;
  const int sh_terms = f.sh.data ? (f.sh_degree + 1) * (f.sh_degree + 1) : 0;
  const bool camera = (f.flags & FLAG_CAMERA_GRADIENT) != 0;
  const Sink to_means = make_sink<FUSED>(f, view, f.d_means, 0), to_rotations = make_sink<FUSED>(f, view, f.d_rotations, 1),
             to_scales = make_sink<FUSED>(f, view, f.d_scales, 2),
             to_opacities = make_sink<FUSED>(f, view, f.d_opacities, 3), to_sh = make_sink<FUSED>(f, view, f.d_sh, 4);
  const Limits limits = jacobian_limits(f, view);
  AdamConstants adam = {};
  // if the pairs of the frame exceeded the capacity, parameters, moments and the step count are left unchanged
  const bool whole = f.counters->pairs <= f.pair_capacity;
  if (FUSED) adam = adam_constants(f.one_minus_beta1, f.one_minus_beta2, f.epsilon, *f.steps + 1);
  // one column per thread, in shared memory, because there are not enough registers
  __shared__ float camera_sums[CAMERA_SUMS][GRADIENT_THREADS];
  const uint32 thread = threadIdx.x;
  for (int k = 0; k < CAMERA_SUMS; k++) camera_sums[k][thread] = 0.0f;
  for (int i = (int)(blockIdx.x * GRADIENT_THREADS + threadIdx.x); i < f.count; i += (int)gridDim.x * GRADIENT_THREADS) {
    if (FUSED && !whole) break;
    if (f.radii[i] == 0) {
      const Vec3 zero = {0.0f, 0.0f, 0.0f};
      apply_gradient3<FUSED>(to_means, adam, i, 0, zero);
      for (int c = 0; c < 4; c++) apply_gradient<FUSED>(to_rotations, adam, i, 0, c, 0.0f);
      apply_gradient3<FUSED>(to_scales, adam, i, 0, FUSED ? scale_regularization_gradient(f, i) : zero);
      apply_gradient<FUSED>(to_opacities, adam, i, 0, 0, FUSED ? opacity_regularization_gradient(f, i) : 0.0f);
      for (int k = 0; k < sh_terms; k++) apply_gradient3<FUSED>(to_sh, adam, i, k, zero);
      if (!FUSED) {
        write_zeros(f.d_colors, i, 3);
        write_zeros(f.d_covariances, i, 6);
      }
      write_zeros(f.d_screen_means, i, 2);
      continue;
    }
    const float* sums = f.splat_gradients + (int64)i * SPLAT_FLOATS;
    const Vec3 d_direction = color_gradients<FUSED>(f, view, to_sh, adam, i, {sums[6], sums[7], sums[8]});
    Projected p;
    project_gaussian(f, view, i, p);
    const float H = sums[0], Hx = sums[1], Hy = sums[2], Hxx = sums[3], Hxy = sums[4], Hyy = sums[5];
    const float d_z = f.flags & FLAG_INVERSE_DEPTH ? -(sums[9] * p.inv_z * p.inv_z) : sums[9];
    const float a = p.cov_yy * p.inv_det, b = -(p.cov_xy * p.inv_det), c = p.cov_xx * p.inv_det;  // the conic
    const float d_x = fmaf(a, Hx, b * Hy), d_y = fmaf(b, Hx, c * Hy);
    if (f.d_screen_means.data) {
      *element(f.d_screen_means, i, 0, 0) = d_x;
      *element(f.d_screen_means, i, 0, 1) = d_y;
    }
    // dL/dcovariance = 1/2 conic H conic, as a full symmetric matrix
    const float p00 = fmaf(a, Hxx, b * Hxy), p01 = fmaf(a, Hxy, b * Hyy), p10 = fmaf(b, Hxx, c * Hxy),
                p11 = fmaf(b, Hxy, c * Hyy);
    float s_xx = 0.5f * fmaf(p00, a, p01 * b), s_xy = 0.5f * fmaf(p00, b, p01 * c), s_yy = 0.5f * fmaf(p10, b, p11 * c);
    float d_opacity = H / p.opacity_raw;
    if (f.flags & FLAG_ANTIALIASED) {
      const float ratio = p.det_raw * p.inv_det;
      // opacity * compensation: H is the gradient to the logarithm of either factor
      const float half = ratio > COMPENSATION_FLOOR ? 0.5f * H : 0.0f;
      const float inv_raw = 1.0f / (p.det_raw > 0.0f ? p.det_raw : 1.0f);
      s_xx += half * (inv_raw * (p.cov_yy - DILATION) - a);
      s_yy += half * (inv_raw * (p.cov_xx - DILATION) - c);
      s_xy += half * (-(inv_raw * p.cov_xy) - b);
    }
    if (f.flags & FLAG_OPACITY_LOGITS) d_opacity = H * (1.0f - p.opacity_raw);
    Vec3 d_t1 = {0.0f, 0.0f, 0.0f}, d_t2 = {0.0f, 0.0f, 0.0f};
    Vec3 d_scale = {0.0f, 0.0f, 0.0f};
    float d_rotation[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    if (!FUSED && f.covariances.data) {
      const Symmetric3 m = get_symmetric(f.covariances, i);
      const Vec3 t1 = p.t1, t2 = p.t2;
      const Vec3 e1 = s_xx * t1 + s_xy * t2, e2 = s_xy * t1 + s_yy * t2;  // S T
      if (f.d_covariances.data) {
        *element(f.d_covariances, i, 0, 0) = fmaf(t1.x, e1.x, t2.x * e2.x);
        *element(f.d_covariances, i, 0, 1) = 2.0f * fmaf(t1.x, e1.y, t2.x * e2.y);
        *element(f.d_covariances, i, 0, 2) = 2.0f * fmaf(t1.x, e1.z, t2.x * e2.z);
        *element(f.d_covariances, i, 0, 3) = fmaf(t1.y, e1.y, t2.y * e2.y);
        *element(f.d_covariances, i, 0, 4) = 2.0f * fmaf(t1.y, e1.z, t2.y * e2.z);
        *element(f.d_covariances, i, 0, 5) = fmaf(t1.z, e1.z, t2.z * e2.z);
      }
      d_t1 = 2.0f * (m * e1);
      d_t2 = 2.0f * (m * e2);
    } else {
      Vec3 d_axis[3];
      const float scales[3] = {p.scale.x, p.scale.y, p.scale.z};
      float d_scales[3];
#pragma unroll
      for (int k = 0; k < 3; k++) {
        const float n1 = dot(p.t1, p.axis[k]), n2 = dot(p.t2, p.axis[k]);
        const float m1 = n1 * scales[k], m2 = n2 * scales[k];
        const float d_m1 = 2.0f * fmaf(s_xx, m1, s_xy * m2), d_m2 = 2.0f * fmaf(s_xy, m1, s_yy * m2);
        d_t1 = d_t1 + (d_m1 * scales[k]) * p.axis[k];
        d_t2 = d_t2 + (d_m2 * scales[k]) * p.axis[k];
        d_axis[k] = scales[k] * (d_m1 * p.t1 + d_m2 * p.t2);
        d_scales[k] = fmaf(d_m1, n1, d_m2 * n2) * (f.flags & FLAG_LOG_SCALES ? scales[k] : f.scale_modifier);
      }
      d_scale = {d_scales[0], d_scales[1], d_scales[2]};
      const float w = p.qw, x = p.qx, y = p.qy, z = p.qz;
      const Vec3 A = d_axis[0], B = d_axis[1], C = d_axis[2];  // gradients of the columns of the rotation matrix
      const float dw = 2.0f * (z * (A.y - B.x) + y * (C.x - A.z) + x * (B.z - C.y));
      const float dx = 2.0f * (y * (A.y + B.x) + z * (A.z + C.x) + w * (B.z - C.y)) - 4.0f * x * (B.y + C.z);
      const float dy = 2.0f * (x * (A.y + B.x) + z * (B.z + C.y) + w * (C.x - A.z)) - 4.0f * y * (A.x + C.z);
      const float dz = 2.0f * (x * (A.z + C.x) + y * (B.z + C.y) + w * (A.y - B.x)) - 4.0f * z * (A.x + B.y);
      const float radial = fmaf(dw, w, fmaf(dx, x, fmaf(dy, y, dz * z)));
      d_rotation[0] = p.q_inv_norm * fmaf(-radial, w, dw);
      d_rotation[1] = p.q_inv_norm * fmaf(-radial, x, dx);
      d_rotation[2] = p.q_inv_norm * fmaf(-radial, y, dy);
      d_rotation[3] = p.q_inv_norm * fmaf(-radial, z, dz);
    }
    const float k1 = view.fx * p.inv_z, k2 = view.fy * p.inv_z;
    const float d_k1 = dot(d_t1, p.direction1), d_k2 = dot(d_t2, p.direction2);
    const float d_uc = -(k1 * dot(d_t1, p.row2)), d_vc = -(k2 * dot(d_t2, p.row2));
    const bool u_inside = p.u > limits.u_low && p.u < limits.u_high, v_inside = p.v > limits.v_low && p.v < limits.v_high;
    const float d_u = (u_inside ? d_uc : 0.0f) + view.fx * d_x, d_v = (v_inside ? d_vc : 0.0f) + view.fy * d_y;
    const Vec3 d_point = {d_u * p.inv_z, d_v * p.inv_z,
                          d_z - p.inv_z * (d_u * p.u + d_v * p.v + d_k1 * k1 + d_k2 * k2)};
    const Vec3 d_mean = d_point.x * p.row0 + d_point.y * p.row1 + d_point.z * p.row2 + d_direction;
    if (camera) {
      const Vec3 rows[3] = {k1 * d_t1, k2 * d_t2, (-(k1 * p.u_clamped)) * d_t1 + (-(k2 * p.v_clamped)) * d_t2};
      const float dp[3] = {d_point.x, d_point.y, d_point.z};
#pragma unroll
      for (int k = 0; k < 3; k++) {
        camera_sums[3 * k][thread] += fmaf(dp[k], p.mean.x, rows[k].x);
        camera_sums[3 * k + 1][thread] += fmaf(dp[k], p.mean.y, rows[k].y);
        camera_sums[3 * k + 2][thread] += fmaf(dp[k], p.mean.z, rows[k].z);
        camera_sums[9 + k][thread] += dp[k];
      }
      // a clamped u depends on the intrinsics: its limit is (constant - cx) / fx
      const float u_out = u_inside ? 0.0f : d_uc, v_out = v_inside ? 0.0f : d_vc;
      camera_sums[12][thread] += fmaf(d_x, p.u, d_k1 * p.inv_z) - u_out * p.u_clamped / view.fx;
      camera_sums[13][thread] += fmaf(d_y, p.v, d_k2 * p.inv_z) - v_out * p.v_clamped / view.fy;
      camera_sums[14][thread] += d_x - u_out / view.fx;
      camera_sums[15][thread] += d_y - v_out / view.fy;
      // the direction is mean - center
      camera_sums[16][thread] -= d_direction.x;
      camera_sums[17][thread] -= d_direction.y;
      camera_sums[18][thread] -= d_direction.z;
    }
    apply_gradient3<FUSED>(to_means, adam, i, 0, d_mean);
    for (int k = 0; k < 4; k++) apply_gradient<FUSED>(to_rotations, adam, i, 0, k, d_rotation[k]);
    if (FUSED) {
      d_scale = d_scale + scale_regularization_gradient(f, i);
      d_opacity += opacity_regularization_gradient(f, i);
    }
    apply_gradient3<FUSED>(to_scales, adam, i, 0, d_scale);
    apply_gradient<FUSED>(to_opacities, adam, i, 0, 0, d_opacity);
  }
  if (camera) sum_camera(f, camera_sums);
}

extern "C" __global__ void __launch_bounds__(GRADIENT_THREADS, 3) gaussian_gradients(const Frame f) {
  gaussian_gradients_of<false>(f);
}

extern "C" __global__ void __launch_bounds__(GRADIENT_THREADS, 3) gaussian_adam(const Frame f) {
  gaussian_gradients_of<true>(f);
  // the block that finishes last increments the step count, when no block reads the old one any more
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    if (atomicInc(f.step_arrivals, gridDim.x - 1) == gridDim.x - 1 && f.counters->pairs <= f.pair_capacity) *f.steps += 1;
  }
}
