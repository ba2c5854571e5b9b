// The photometric loss with its gradient, and Adam over whole tensors.
#pragma once
#include "adam.h"
#include "kernels.h"
#include "simd.h"

namespace {

enum { TAPS = 11, REACH = TAPS / 2, MARGIN = 16, MOST_OUTER_ROWS = MOST_LOSS_ROWS + 4 * REACH };

INLINE int64_t padded_width(int64_t width) { return (width + W - 1) / W * W + 2 * MARGIN; }

int64_t loss_scratch_floats(int64_t width, int64_t rows) {
  // rows of image and target where they cannot be read in place, a row of zeros, four blurred rows, three rows of partial
  // derivatives for each row, the three blurred again, gradient, two weights, two maps
  return padded_width(width) * (2 * (rows + 4 * REACH) + 1 + 4 + 3 * (rows + 2 * REACH) + 3 + 5);
}

// exp(-x^2 / (2 1.5^2)), normalized to the sum 1 over the 11 taps
const float TAP[REACH + 1] = {0.26601171f, 0.21300554f, 0.10936069f, 0.03600077f, 0.00759876f, 0.00102838f};

INLINE vf blur_row(const float* p) {
  vf sum = set1(TAP[0]) * load(p);
  for (int k = 1; k <= REACH; k++) sum = fma(set1(TAP[k]), load(p - k) + load(p + k), sum);
  return sum;
}

// L = l1_factor * sum of l1_weight * mean over channels of |x - y|
//   + ssim_factor * sum of ssim_weight * mean over channels of (1 - SSIM(x, y))
// for the rows [begin, end), with its gradient. SSIM (Wang et al. 2004): 11x11 window, sigma 1.5, zeros outside.
// With the window means m and second moments E as variables, dL/dx = blur(dL/dm_x) + 2 x blur(dL/dE_xx) + y blur(dL/dE_xy).
// Vertical blurs come first, so that the derivatives of the rows are the only intermediate images.
void loss_rows(const Loss* loss, int64_t begin, int64_t end, float* scratch, double* row_sums) {
  const Loss& s = *loss;
  const int64_t width = s.width, height = s.height, stride = padded_width(width), plane = width * height;
  const int64_t outer = begin - 2 * REACH, outer_rows = end - begin + 4 * REACH;  // rows of x and y in the scratch
  const int64_t inner = begin - REACH, inner_rows = end - begin + 2 * REACH;      // rows of derivatives
  float* const x_rows = scratch + MARGIN;
  float* const y_rows = x_rows + stride * outer_rows;
  float* const zeros = y_rows + stride * outer_rows;
  float* const blurred = zeros + stride;
  float* const derivative = blurred + 4 * stride;
  float* const combined = derivative + 3 * stride * inner_rows;
  float* const gradient = combined + 3 * stride;
  float* const weight = gradient + stride;
  float* const ssim_weight = weight + stride;
  float* const l1_row = ssim_weight + stride;
  float* const ssim_row = l1_row + stride;
  // rows that are blurred along x must be 0 beside the image; vectors may reach past its end
  const auto clear_margins = [&](float* row) {
    memset(row - MARGIN, 0, MARGIN * sizeof(float));
    memset(row + width, 0, (size_t)(stride - MARGIN - width) * sizeof(float));
  };
  const bool whole_vectors = width % W == 0;  // rows are then read in place; otherwise copies have zeros beside the image
  if (whole_vectors) memset(zeros, 0, (size_t)width * sizeof(float));
  else memset(scratch, 0, (size_t)loss_scratch_floats(width, end - begin) * sizeof(float));
  const float *x[MOST_OUTER_ROWS], *y[MOST_OUTER_ROWS];
  const bool with_ssim = s.ssim_factor != 0.0f || s.ssim_map;
  const vf third = set1(1.0f / 3.0f), one = set1(1.0f);
  for (int64_t row = begin; row < end; row++) {
    row_sums[2 * row] = row_sums[2 * row + 1] = 0.0;
    if (s.l1_map) memset(s.l1_map + row * width, 0, (size_t)width * sizeof(float));
    if (s.ssim_map) memset(s.ssim_map + row * width, 0, (size_t)width * sizeof(float));
  }
  for (int channel = 0; channel < 3; channel++) {
    for (int64_t r = 0; r < outer_rows; r++) {
      const int64_t row = outer + r;
      x[r] = y[r] = zeros;
      if (row < 0 || row >= height) continue;
      const float* given = s.image + channel * plane + row * width;
      x[r] = whole_vectors ? given : (const float*)memcpy(x_rows + r * stride, given, (size_t)width * sizeof(float));
      float* to = y_rows + r * stride;
      y[r] = to;
      if (s.target) {
        const float* from = s.target + channel * s.target_channel + row * s.target_row;
        if (s.target_column != 1) for (int64_t c = 0; c < width; c++) to[c] = from[c * s.target_column];
        else if (whole_vectors) y[r] = from;
        else memcpy(to, from, (size_t)width * sizeof(float));
      } else {
        const uint8_t* from = s.target_bytes + channel * s.target_channel + row * s.target_row;
        for (int64_t c = 0; c < width; c++) to[c] = (float)from[c * s.target_column] * (1.0f / 255.0f);
      }
    }
    if (with_ssim)
      for (int64_t r = 0; r < inner_rows; r++) {
        const int64_t row = inner + r;
        float* out[3] = {derivative + r * stride, derivative + (inner_rows + r) * stride,
                         derivative + (2 * inner_rows + r) * stride};
        if (row < 0 || row >= height) {
          for (float* part : out) memset(part, 0, (size_t)width * sizeof(float));
          continue;
        }
        for (int64_t c = 0; c < width; c += W) {
          const float *const *px = x + r, *const *py = y + r;  // the rows of the window
          vf cx = load(px[REACH] + c), cy = load(py[REACH] + c), t0 = set1(TAP[0]);
          vf mx = t0 * cx, my = t0 * cy, xx_yy = fma(mx, cx, my * cy), xy = mx * cy;  // only the sum of both squares is needed
          for (int k = 1; k <= REACH; k++) {
            vf t = set1(TAP[k]);
            vf xa = load(px[REACH - k] + c), xb = load(px[REACH + k] + c);
            vf ya = load(py[REACH - k] + c), yb = load(py[REACH + k] + c);
            mx = fma(t, xa + xb, mx);
            my = fma(t, ya + yb, my);
            xx_yy = fma(t, fma(xa, xa, fma(xb, xb, fma(ya, ya, yb * yb))), xx_yy);
            xy = fma(t, fma(xa, ya, xb * yb), xy);
          }
          store(blurred + c, mx); store(blurred + stride + c, my); store(blurred + 2 * stride + c, xx_yy);
          store(blurred + 3 * stride + c, xy);
        }
        for (int k = 0; k < 4; k++) clear_margins(blurred + k * stride);
        if (s.ssim_weight) memcpy(ssim_weight, s.ssim_weight + row * width, (size_t)width * sizeof(float));
        else for (int64_t c = 0; c < width; c++) ssim_weight[c] = 1.0f;
        vf sum = set1(0.0f);
        for (int64_t c = 0; c < width; c += W) {
          vf mx = blur_row(blurred + c), my = blur_row(blurred + stride + c),
             xx_yy = blur_row(blurred + 2 * stride + c), xy = blur_row(blurred + 3 * stride + c);
          vf mxx = mx * mx, myy = my * my, mxy = mx * my;
          vf a1 = fma(set1(2.0f), mxy, set1(1e-4f)), a2 = fma(set1(2.0f), xy - mxy, set1(9e-4f));
          vf b1 = mxx + myy + 1e-4f, b2 = xx_yy - (mxx + myy) + 9e-4f;
          vf inv = one / (b1 * b2);
          vf ssim = a1 * a2 * inv;
          vf v = load(ssim_weight + c);
          vf ssim_gradient = v * set1(-s.ssim_factor * (1.0f / 3.0f));
          vf d_xx = -(ssim * b1 * inv);  // S / b2 = S b1 inv
          vf d_xy = 2.0f * a1 * inv;
          vf d_mx = 2.0f * (my * a2 * inv - ssim * mx * b2 * inv - mx * d_xx) - my * d_xy;
          store(out[0] + c, ssim_gradient * d_mx);
          store(out[1] + c, ssim_gradient * d_xx);
          store(out[2] + c, ssim_gradient * d_xy);
          if (row >= begin && row < end) {
            vf loss_value = (one - ssim) * third;
            sum = fma(v, loss_value, sum);
            store(ssim_row + c, loss_value);
          }
        }
        if (row >= begin && row < end) {
          row_sums[2 * row + 1] += hsum(sum);
          if (s.ssim_map)
            for (int64_t c = 0; c < width; c++) s.ssim_map[row * width + c] += ssim_row[c];
        }
      }
    for (int64_t row = begin; row < end; row++) {
      const int64_t r = row - begin;
      const float *px = x[r + 2 * REACH], *py = y[r + 2 * REACH];
      if (s.l1_weight) memcpy(weight, s.l1_weight + row * width, (size_t)width * sizeof(float));
      else for (int64_t c = 0; c < width; c++) weight[c] = 1.0f;
      if (s.gradient && with_ssim && s.ssim_factor != 0.0f) {
        for (int64_t c = 0; c < width; c += W)
          for (int m = 0; m < 3; m++) {
            const float* from = derivative + (m * inner_rows + r) * stride + c;
            vf sum = set1(TAP[0]) * load(from + REACH * stride);
            for (int k = 1; k <= REACH; k++)
              sum = fma(set1(TAP[k]), load(from + (REACH - k) * stride) + load(from + (REACH + k) * stride), sum);
            store(combined + m * stride + c, sum);
          }
        for (int m = 0; m < 3; m++) clear_margins(combined + m * stride);
      }
      vf sum = set1(0.0f);
      for (int64_t c = 0; c < width; c += W) {
        vf xc = load(px + c), yc = load(py + c), w = load(weight + c), zero = set1(0.0f);
        vf difference = xc - yc, loss_value = vabs(difference) * third;
        sum = fma(w, loss_value, sum);
        store(l1_row + c, loss_value);
        vf l1_gradient = w * set1(s.l1_factor * (1.0f / 3.0f));
        vf d = select(gt(difference, zero), l1_gradient, select(gt(zero, difference), -l1_gradient, zero));
        if (s.gradient && with_ssim && s.ssim_factor != 0.0f)
          d += blur_row(combined + c) +
               fma(2.0f * xc, blur_row(combined + stride + c), yc * blur_row(combined + 2 * stride + c));
        store(gradient + c, d);
      }
      row_sums[2 * row] += hsum(sum);
      if (s.gradient)
        memcpy(s.gradient + channel * plane + row * width, gradient, (size_t)width * sizeof(float));
      if (s.l1_map)
        for (int64_t c = 0; c < width; c++) s.l1_map[row * width + c] += l1_row[c];
    }
  }
}

// A step of Adam for the elements [begin, end) of a group.
void adam(const AdamGroup* group, int64_t begin, int64_t end) {
  const AdamGroup& a = *group;
  const AdamConstants rates = adam_constants(a.step_size, a.inv_root_bias_correction2, a.beta1, a.beta2, a.epsilon);
  for (int64_t i = begin; i < end; i += W) {
    const int n = end - i < W ? (int)(end - i) : W;
    float lanes[4][W];
    vf p, g, m, v;
    if (n == W) {
      p = load(a.parameter + i); g = load(a.gradient + i); m = load(a.exp_avg + i); v = load(a.exp_avg_sq + i);
    } else {
      memset(lanes, 0, sizeof lanes);
      memcpy(lanes[0], a.parameter + i, n * 4); memcpy(lanes[1], a.gradient + i, n * 4);
      memcpy(lanes[2], a.exp_avg + i, n * 4); memcpy(lanes[3], a.exp_avg_sq + i, n * 4);
      p = load(lanes[0]); g = load(lanes[1]); m = load(lanes[2]); v = load(lanes[3]);
    }
    vf old_p = p, old_m = m, old_v = v;
    p = adam_lanes(rates, p, g, m, v);
    if (a.visible) {
      float on[W];
      for (int l = 0; l < W; l++) on[l] = l < n && a.visible[(i + l) % a.count] ? 1.0f : 0.0f;
      vm seen = gt(load(on), set1(0.0f));
      p = select(seen, p, old_p); m = select(seen, m, old_m); v = select(seen, v, old_v);
    }
    if (n == W) {
      store(a.parameter + i, p); store(a.exp_avg + i, m); store(a.exp_avg_sq + i, v);
    } else {
      store(lanes[0], p); store(lanes[2], m); store(lanes[3], v);
      memcpy(a.parameter + i, lanes[0], n * 4); memcpy(a.exp_avg + i, lanes[2], n * 4);
      memcpy(a.exp_avg_sq + i, lanes[3], n * 4);
    }
  }
}

}  // namespace
