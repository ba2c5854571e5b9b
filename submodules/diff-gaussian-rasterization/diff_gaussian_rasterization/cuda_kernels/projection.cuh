// Projection of Gaussians to the screen: EWA splatting (Zwicker et al. 2001) as in 3D Gaussian Splatting (Kerbl et al.
// 2023), one Gaussian per thread.
#pragma once
#include "primitives.cuh"
#include "vectors.cuh"

typedef float Real;
__device__ __forceinline__ Real real(float x) { return x; }
#define SH_FUNCTION __device__ __forceinline__
#include "spherical_harmonics.h"

// A projected Gaussian, for the forward and the backward pass.
struct Projected {
  Vec3 mean, camera_point, row0, row1, row2;  // rows of the camera's rotation
  float inv_z, u, v, u_clamped, v_clamped;    // x / z, y / z and their clamped versions for the Jacobian
  Vec3 t1, t2, direction1, direction2;        // rows of J R; t1 = fx / z * direction1
  Vec3 scale, axis[3];                        // scale with modifier; columns of the Gaussian's rotation
  float qw, qx, qy, qz, q_inv_norm;
  float cov_xx, cov_xy, cov_yy, det_raw, inv_det;  // dilated covariance, determinant before dilation, 1 / determinant
  float opacity_raw, compensation, opacity;        // opacity = opacity_raw * compensation
  float x, y;
};

struct Limits { float u_low, u_high, v_low, v_high; };

// Bounds of x / z and y / z for the Jacobian of the projection: 15 % of the image outside its border, which is 1.3 times
// the half field of view where the principal point is centered.
__device__ __forceinline__ Limits jacobian_limits(const Frame& f, const View& view) {
  const float w = 1.15f * f.width, h = 1.15f * f.height;
  return {-(view.cx + 0.15f * f.width) / view.fx, (w - view.cx) / view.fx, -(view.cy + 0.15f * f.height) / view.fy,
          (h - view.cy) / view.fy};
}

__device__ __forceinline__ void rotation_columns(Projected& p) {
  const float w = p.qw, x = p.qx, y = p.qy, z = p.qz;
  p.axis[0] = {fmaf(-2.0f, fmaf(y, y, z * z), 1.0f), 2.0f * fmaf(x, y, w * z), 2.0f * fmaf(x, z, -(w * y))};
  p.axis[1] = {2.0f * fmaf(x, y, -(w * z)), fmaf(-2.0f, fmaf(x, x, z * z), 1.0f), 2.0f * fmaf(y, z, w * x)};
  p.axis[2] = {2.0f * fmaf(x, z, w * y), 2.0f * fmaf(y, z, -(w * x)), fmaf(-2.0f, fmaf(x, x, y * y), 1.0f)};
}

// Returns false for a Gaussian that is invisible: too near, transparent, degenerate or not finite.
__device__ __forceinline__ bool project_gaussian(const Frame& f, const View& view, int i, Projected& p) {
  const float* R = view.rotation;
  p.mean = get3(f.means, i, 0);
  p.row0 = {R[0], R[1], R[2]};
  p.row1 = {R[3], R[4], R[5]};
  p.row2 = {R[6], R[7], R[8]};
  p.camera_point = {dot(p.row0, p.mean) + view.translation[0], dot(p.row1, p.mean) + view.translation[1],
                    dot(p.row2, p.mean) + view.translation[2]};
  const float z = p.camera_point.z;
  if (!(z > f.near_plane && z < 3e38f)) return false;
  p.inv_z = 1.0f / z;
  p.u = p.camera_point.x * p.inv_z;
  p.v = p.camera_point.y * p.inv_z;
  const Limits limits = jacobian_limits(f, view);
  p.u_clamped = clamp(p.u, limits.u_low, limits.u_high);
  p.v_clamped = clamp(p.v, limits.v_low, limits.v_high);
  p.direction1 = p.row0 - p.u_clamped * p.row2;
  p.direction2 = p.row1 - p.v_clamped * p.row2;
  p.t1 = (view.fx * p.inv_z) * p.direction1;
  p.t2 = (view.fy * p.inv_z) * p.direction2;
  if (f.covariances.data) {
    // a given covariance is final: no scale modifier, as in the original interface
    const Symmetric3 c = get_symmetric(f.covariances, i);
    const Vec3 v1 = c * p.t1, v2 = c * p.t2;
    p.cov_xx = dot(p.t1, v1);
    p.cov_xy = dot(p.t1, v2);
    p.cov_yy = dot(p.t2, v2);
    p.det_raw = fmaf(p.cov_xx, p.cov_yy, -(p.cov_xy * p.cov_xy));
  } else {
    p.qw = get(f.rotations, i, 0, 0);
    p.qx = get(f.rotations, i, 0, 1);
    p.qy = get(f.rotations, i, 0, 2);
    p.qz = get(f.rotations, i, 0, 3);
    const float squared_length = fmaf(p.qw, p.qw, fmaf(p.qx, p.qx, fmaf(p.qy, p.qy, p.qz * p.qz)));
    // squares of shorter and longer quaternions are inexact or not finite
    if (!(squared_length > QUATERNION_SHORTEST * QUATERNION_SHORTEST &&
          squared_length < QUATERNION_LONGEST * QUATERNION_LONGEST))
      return false;
    p.q_inv_norm = 1.0f / sqrtf(squared_length);
    p.qw *= p.q_inv_norm;
    p.qx *= p.q_inv_norm;
    p.qy *= p.q_inv_norm;
    p.qz *= p.q_inv_norm;
    rotation_columns(p);
    p.scale = get3(f.scales, i, 0);
    if (f.flags & FLAG_LOG_SCALES) p.scale = {expf(p.scale.x), expf(p.scale.y), expf(p.scale.z)};
    p.scale = f.scale_modifier * p.scale;
    const Vec3 m1 = {dot(p.t1, p.axis[0]) * p.scale.x, dot(p.t1, p.axis[1]) * p.scale.y,
                     dot(p.t1, p.axis[2]) * p.scale.z};
    const Vec3 m2 = {dot(p.t2, p.axis[0]) * p.scale.x, dot(p.t2, p.axis[1]) * p.scale.y,
                     dot(p.t2, p.axis[2]) * p.scale.z};
    p.cov_xx = dot(m1, m1);
    p.cov_xy = dot(m1, m2);
    p.cov_yy = dot(m2, m2);
    const Vec3 normal = cross(m1, m2);  // |m1 x m2|^2 is the determinant without the cancellation of xx yy - xy^2
    p.det_raw = dot(normal, normal);
  }
  const float det = fmaf(DILATION, p.cov_xx + p.cov_yy, p.det_raw + DILATION * DILATION);
  p.cov_xx += DILATION;
  p.cov_yy += DILATION;
  p.inv_det = 1.0f / det;
  p.opacity_raw = get(f.opacities, i, 0, 0);
  if (f.flags & FLAG_OPACITY_LOGITS) p.opacity_raw = 1.0f / (1.0f + expf(-p.opacity_raw));
  p.compensation = 1.0f;
  if (f.flags & FLAG_ANTIALIASED) p.compensation = sqrtf(fmaxf(p.det_raw * p.inv_det, COMPENSATION_FLOOR));
  p.opacity = p.opacity_raw * p.compensation;
  p.x = fmaf(view.fx, p.u, view.cx);
  p.y = fmaf(view.fy, p.v, view.cy);
  if (f.screen_means.data) {
    p.x += get(f.screen_means, i, 0, 0);
    p.y += get(f.screen_means, i, 0, 1);
  }
  const float big = LARGEST;
  // written so that NaN fails; an opacity above 1 is clamped per pixel
  return det > 0.0f && det < big && fabsf(p.x) < big && fabsf(p.y) < big && p.cov_xx > 0.0f && p.cov_xx < big &&
         p.cov_yy > 0.0f && p.cov_yy < big && p.opacity >= ALPHA_CUT && p.opacity < big;
}

// Unit vector from the camera center to the mean. The center is -R^T t or, without FLAG_CENTER_FROM_POSE, given.
__device__ __forceinline__ Vec3 view_direction(const Frame& f, const View& view, Vec3 mean, float& inv_length) {
  Vec3 center = {view.center[0], view.center[1], view.center[2]};
  if (f.flags & FLAG_CENTER_FROM_POSE) {
    const float *R = view.rotation, *t = view.translation;
    for (int k = 0; k < 3; k++) (&center.x)[k] = -fmaf(t[0], R[k], fmaf(t[1], R[3 + k], t[2] * R[6 + k]));
  }
  const Vec3 d = mean - center;
  inv_length = 1.0f / sqrtf(fmaxf(dot(d, d), 1e-30f));
  return inv_length * d;
}

// Color before the clamp at 0.
__device__ __forceinline__ Vec3 gaussian_color(const Frame& f, int i, Vec3 direction) {
  if (f.colors.data) return get3(f.colors, i, 0);
  float Y[16];
  sh_basis(f.sh_degree, direction, Y);
  const int terms = (f.sh_degree + 1) * (f.sh_degree + 1);
  Vec3 c = {0.5f, 0.5f, 0.5f};
#pragma unroll
  for (int k = 0; k < 16; k++)
    if (k < terms) {
      const Vec3 h = get3(f.sh, i, k);
      c = {fmaf(Y[k], h.x, c.x), fmaf(Y[k], h.y, c.y), fmaf(Y[k], h.z, c.z)};
    }
  return c;
}

// Computes the splat, its radius and its z. Returns false if it is invisible or its extent contains no pixel center.
__device__ __forceinline__ bool make_splat(const Frame& f, const View& view, int i, Splat& splat, int& radius, float& z) {
  Projected p;
  if (!project_gaussian(f, view, i, p)) return false;
  const float log2_opacity = log2f(p.opacity);
  // alpha is 1/255 where the quadratic form of the conic has this value
  float cut = 2.0f * LN2 * (log2_opacity - LOG2_ALPHA_CUT);
  cut = fmaf(cut, 1.00001f, 1e-5f);
  const float half_width = sqrtf(fmaxf(cut * p.cov_xx, 0.0f)), half_height = sqrtf(fmaxf(cut * p.cov_yy, 0.0f));
  const float x = p.x - 0.5f, y = p.y - 0.5f;  // from here on pixel centers are at integers
  const float x0 = fmaxf(ceilf(x - half_width), 0.0f), x1 = fminf(floorf(x + half_width), f.width - 1.0f);
  const float y0 = fmaxf(ceilf(y - half_height), 0.0f), y1 = fminf(floorf(y + half_height), f.height - 1.0f);
  if (!(x0 <= x1 && y0 <= y1)) return false;
  float inv_length;
  Vec3 color = gaussian_color(f, i, view_direction(f, view, p.mean, inv_length));
  // written so that NaN fails
  if (!(fabsf(color.x) < LARGEST && fabsf(color.y) < LARGEST && fabsf(color.z) < LARGEST)) return false;
  if (!f.colors.data) color = {fmaxf(color.x, 0.0f), fmaxf(color.y, 0.0f), fmaxf(color.z, 0.0f)};
  const float mid = 0.5f * (p.cov_xx + p.cov_yy), diff = 0.5f * (p.cov_xx - p.cov_yy);
  const float largest = mid + sqrtf(fmaf(diff, diff, p.cov_xy * p.cov_xy));
  radius = (int)fminf(ceilf(3.0f * sqrtf(largest)), 1e9f);
  splat = {x, y, (-0.5f * LOG2E) * p.cov_yy * p.inv_det, LOG2E * p.cov_xy * p.inv_det,
           (-0.5f * LOG2E) * p.cov_xx * p.inv_det, log2_opacity, color.x, color.y, color.z,
           f.flags & FLAG_INVERSE_DEPTH ? p.inv_z : p.camera_point.z, half_width, half_height};
  z = p.camera_point.z;
  return true;
}

// Computes the splats of all Gaussians, and lists depth and index of the visible ones in the order of the Gaussians.
extern "C" __global__ void __launch_bounds__(GAUSSIAN_THREADS) project(const Frame f) {
  __shared__ uint32 scratch[8], block_shared, base_shared, histogram[MAX_PASSES][DIGITS];
  const uint32 block = take_ticket(&f.counters->project_ticket, &block_shared);
  const int i = (int)(block * GAUSSIAN_THREADS + threadIdx.x);
  for (int pass = 0; pass < MAX_PASSES; pass++) histogram[pass][threadIdx.x] = 0;
  bool visible = false;
  uint32 key = 0;
  if (i < f.count) {
    Splat splat;
    int radius = 0;
    float z = 0.0f;
    visible = make_splat(f, *f.view, i, splat, radius, z);
    f.radii[i] = visible ? radius : 0;
    if (visible) {
      f.splats[i] = splat;
      key = __float_as_uint(z);  // the bits of positive floats have the order of the floats
    }
  }
  uint32 total;
  const uint32 place = block_exclusive_scan(visible ? 1u : 0u, scratch, total);
  if (threadIdx.x < 32) {
    const uint32 before = look_back(f.project_status, block, total);
    if (threadIdx.x == 0) {
      base_shared = before;
      if (block == gridDim.x - 1) f.counters->visible = before + total;
    }
  }
  __syncthreads();
  if (visible) {
    f.depth_keys[base_shared + place] = key;
    f.depth_ids[base_shared + place] = (uint32)i;
    for (int pass = 0; pass < MAX_PASSES; pass++) atomicAdd(&histogram[pass][(key >> (8 * pass)) % DIGITS], 1u);
  }
  __syncthreads();
  for (int pass = 0; pass < MAX_PASSES; pass++) {
    const uint32 times = histogram[pass][threadIdx.x];
    if (times) atomicAdd(&f.depth_histogram[pass * DIGITS + threadIdx.x], times);
  }
}
