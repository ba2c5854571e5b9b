// L = l1_factor * sum of l1_weight * mean over channels of |x - y|
//   + ssim_factor * sum of ssim_weight * mean over channels of (1 - SSIM(x, y)), and its gradient, in one launch.
// SSIM (Wang et al. 2004): 11x11 window, sigma 1.5, zeros outside. With the window means m and second moments E as
// variables, dL/dx = blur(dL/dm_x) + 2 x blur(dL/dE_xx) + y blur(dL/dE_xy). Each block computes the derivatives for its own
// pixels and for those within the reach of a window: twice the arithmetic, but no intermediate image in memory.
#pragma once
#include "primitives.cuh"

enum {
  LOSS_REACH = 5,                                                    // of the window
  LOSS_W = 32, LOSS_H = 16,                                          // pixels of a block
  LOSS_THREADS = 256,
  MAP_W = LOSS_W + 2 * LOSS_REACH, MAP_H = LOSS_H + 2 * LOSS_REACH,  // where derivatives are needed
  READ_W = MAP_W + 2 * LOSS_REACH, READ_H = MAP_H + 2 * LOSS_REACH,  // where the images are needed
  LOSS_OWN = LOSS_W * LOSS_H / LOSS_THREADS,                         // pixels of a thread, LOSS_STEP rows apart
  LOSS_STEP = LOSS_H / LOSS_OWN,
  MAP_EACH = (MAP_W * MAP_H + LOSS_THREADS - 1) / LOSS_THREADS,
  DOWN_EACH = (MAP_W * LOSS_H + LOSS_THREADS - 1) / LOSS_THREADS,
};

struct Loss {
  const float* image;                    // (3, H, W)
  const float* target;                   // (3, H, W) with the element strides below; null: target_bytes is used
  const unsigned char* target_bytes;     // the same as bytes, 255 for 1.0
  int64 target_channel, target_row, target_column;
  int width, height;
  const float *l1_weight, *ssim_weight;  // (H, W); null: 1 everywhere
  float l1_factor, ssim_factor;
  int with_ssim, unused;
  float *gradient, *l1_map, *ssim_map;   // (3, H, W), (H, W), (H, W); null: not computed
  double *partials, *sums;               // (blocks, 2) and (2,): l1_sum and ssim_sum
  uint32* arrivals;                      // counts finished blocks; 0 before and after the kernel
};

struct LossShared {
  float x[READ_H][READ_W], y[READ_H][READ_W];
  // the five moments, blurred along the columns; later, in the same memory, the three derivatives
  union {
    float moments[5][MAP_H][READ_W];
    float maps[3][MAP_H][MAP_W];
  };
};

// exp(-x^2 / (2 1.5^2)), normalized to the sum 1 over the 11 taps
__device__ __forceinline__ float loss_tap(int distance) {
  const float taps[LOSS_REACH + 1] = {0.26601171f, 0.21300554f, 0.10936069f, 0.03600077f, 0.00759876f, 0.00102838f};
  return taps[distance < 0 ? -distance : distance];
}

__device__ __forceinline__ void read_images(const Loss& s, LossShared& m, int channel, int left, int top) {
  const int64 plane = (int64)s.width * s.height;
  for (int n = (int)threadIdx.x; n < READ_W * READ_H; n += LOSS_THREADS) {
    const int column = n % READ_W, row = n / READ_W;
    const int px = left + column - 2 * LOSS_REACH, py = top + row - 2 * LOSS_REACH;
    float x = 0.0f, y = 0.0f;
    if (px >= 0 && px < s.width && py >= 0 && py < s.height) {
      x = s.image[channel * plane + (int64)py * s.width + px];
      const int64 at = channel * s.target_channel + py * s.target_row + px * s.target_column;
      y = s.target ? s.target[at] : s.target_bytes[at] * (1.0f / 255.0f);
    }
    m.x[row][column] = x;
    m.y[row][column] = y;
  }
}

__device__ __forceinline__ void blur_moments_down(LossShared& m) {
  for (int n = (int)threadIdx.x; n < READ_W * MAP_H; n += LOSS_THREADS) {
    const int column = n % READ_W, row = n / READ_W;
    float mx = 0.0f, my = 0.0f, xx = 0.0f, yy = 0.0f, xy = 0.0f;
#pragma unroll
    for (int k = -LOSS_REACH; k <= LOSS_REACH; k++) {
      const float x = m.x[row + LOSS_REACH + k][column], y = m.y[row + LOSS_REACH + k][column], t = loss_tap(k);
      const float tx = t * x, ty = t * y;
      mx += tx;
      my += ty;
      xx = fmaf(tx, x, xx);
      yy = fmaf(ty, y, yy);
      xy = fmaf(tx, y, xy);
    }
    m.moments[0][row][column] = mx;
    m.moments[1][row][column] = my;
    m.moments[2][row][column] = xx;
    m.moments[3][row][column] = yy;
    m.moments[4][row][column] = xy;
  }
}

// For the window centered at (row, column) of the maps: the derivatives of the loss with respect to m_x, E_xx and E_xy.
// Returns 1 - SSIM.
__device__ __forceinline__ float window_derivatives(const Loss& s, const LossShared& m, int row, int column, float weight,
                                                    float* d) {
  float blurred[5];
#pragma unroll
  for (int c = 0; c < 5; c++) {
    blurred[c] = 0.0f;
#pragma unroll
    for (int k = -LOSS_REACH; k <= LOSS_REACH; k++)
      blurred[c] = fmaf(loss_tap(k), m.moments[c][row][column + LOSS_REACH + k], blurred[c]);
  }
  const float mx = blurred[0], my = blurred[1], mxx = mx * mx, myy = my * my, mxy = mx * my;
  const float a1 = fmaf(2.0f, mxy, 1e-4f), a2 = fmaf(2.0f, blurred[4] - mxy, 9e-4f);
  const float b1 = mxx + myy + 1e-4f, b2 = (blurred[2] - mxx) + (blurred[3] - myy) + 9e-4f;
  const float inv = 1.0f / (b1 * b2), ssim = a1 * a2 * inv;
  const float ssim_gradient = weight * (-s.ssim_factor * (1.0f / 3.0f));
  const float e_xx = -(ssim * b1 * inv), e_xy = 2.0f * a1 * inv;  // S / b2 = S b1 inv
  d[0] = ssim_gradient * (2.0f * (my * a2 * inv - ssim * mx * b2 * inv - mx * e_xx) - my * e_xy);
  d[1] = ssim_gradient * e_xx;
  d[2] = ssim_gradient * e_xy;
  return 1.0f - ssim;
}

// Replaces the moments by the derivatives. Returns the weighted sum of (1 - SSIM) / 3 over the pixels of this thread.
__device__ __forceinline__ float derive(const Loss& s, LossShared& m, int channel, int left, int top) {
  float d[MAP_EACH][3], sum = 0.0f;
#pragma unroll
  for (int j = 0; j < MAP_EACH; j++) {
    const int n = (int)threadIdx.x + j * LOSS_THREADS, column = n % MAP_W, row = n / MAP_W;
    const int px = left + column - LOSS_REACH, py = top + row - LOSS_REACH;
    d[j][0] = d[j][1] = d[j][2] = 0.0f;
    if (n >= MAP_W * MAP_H || px < 0 || px >= s.width || py < 0 || py >= s.height) continue;
    const int64 at = (int64)py * s.width + px;
    const float weight = s.ssim_weight ? s.ssim_weight[at] : 1.0f;
    const float loss_value = window_derivatives(s, m, row, column, weight, d[j]) * (1.0f / 3.0f);
    if (column < LOSS_REACH || column >= LOSS_REACH + LOSS_W || row < LOSS_REACH || row >= LOSS_REACH + LOSS_H) continue;
    sum = fmaf(weight, loss_value, sum);
    if (s.ssim_map) s.ssim_map[at] = channel ? s.ssim_map[at] + loss_value : loss_value;  // each pixel has the same thread in every channel
  }
  __syncthreads();
#pragma unroll
  for (int j = 0; j < MAP_EACH; j++) {
    const int n = (int)threadIdx.x + j * LOSS_THREADS;
    if (n < MAP_W * MAP_H)
      for (int c = 0; c < 3; c++) m.maps[c][n / MAP_W][n % MAP_W] = d[j][c];
  }
  __syncthreads();
  return sum;
}

// Blurs the maps along the columns, in place; the results are in the first LOSS_H rows.
__device__ __forceinline__ void blur_maps_down(LossShared& m) {
  float blurred[DOWN_EACH][3];
#pragma unroll
  for (int j = 0; j < DOWN_EACH; j++) {
    const int n = (int)threadIdx.x + j * LOSS_THREADS;
#pragma unroll
    for (int c = 0; c < 3; c++) {
      blurred[j][c] = 0.0f;
      if (n < MAP_W * LOSS_H)
#pragma unroll
        for (int k = -LOSS_REACH; k <= LOSS_REACH; k++)
          blurred[j][c] = fmaf(loss_tap(k), m.maps[c][n / MAP_W + LOSS_REACH + k][n % MAP_W], blurred[j][c]);
    }
  }
  __syncthreads();
#pragma unroll
  for (int j = 0; j < DOWN_EACH; j++) {
    const int n = (int)threadIdx.x + j * LOSS_THREADS;
    if (n < MAP_W * LOSS_H)
      for (int c = 0; c < 3; c++) m.maps[c][n / MAP_W][n % MAP_W] = blurred[j][c];
  }
  __syncthreads();
}

// Writes the sums of the block to its row of the partial sums. The block that finishes last adds up the rows, in order.
__device__ __forceinline__ void sum_losses(const Loss& s, float l1_sum, float ssim_sum) {
  __shared__ float by_warp[2][LOSS_THREADS / 32];
  __shared__ bool is_last;
  const int block = (int)(blockIdx.y * gridDim.x + blockIdx.x), blocks = (int)(gridDim.x * gridDim.y);
  l1_sum = warp_sum(l1_sum);
  ssim_sum = warp_sum(ssim_sum);
  if (lane_index() == 0) {
    by_warp[0][threadIdx.x >> 5] = l1_sum;
    by_warp[1][threadIdx.x >> 5] = ssim_sum;
  }
  __syncthreads();
  if (threadIdx.x < 2) {
    double sum = 0.0;
    for (int w = 0; w < LOSS_THREADS / 32; w++) sum += by_warp[threadIdx.x][w];
    s.partials[2 * block + (int)threadIdx.x] = sum;
    __threadfence();
  }
  __syncthreads();
  if (threadIdx.x == 0) is_last = atomicInc(s.arrivals, (uint32)blocks - 1) == (uint32)blocks - 1;
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  // one warp for each of the two sums
  if (threadIdx.x < 64) {
    const int which = (int)threadIdx.x >> 5;
    double sum = 0.0;
    for (int row = (int)lane_index(); row < blocks; row += 32) sum += *(const volatile double*)&s.partials[2 * row + which];
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, step);
    if (lane_index() == 0) s.sums[which] = sum;
  }
}

extern "C" __global__ void __launch_bounds__(LOSS_THREADS) photometric_loss(const Loss s) {
  __shared__ LossShared m;
  const int left = (int)blockIdx.x * LOSS_W, top = (int)blockIdx.y * LOSS_H;
  const int column = (int)threadIdx.x % LOSS_W, px = left + column;
  const int64 plane = (int64)s.width * s.height;
  float l1_sum = 0.0f, ssim_sum = 0.0f, l1_mean[LOSS_OWN];
  for (int k = 0; k < LOSS_OWN; k++) l1_mean[k] = 0.0f;
  for (int channel = 0; channel < 3; channel++) {
    read_images(s, m, channel, left, top);
    __syncthreads();
    if (s.with_ssim) {
      blur_moments_down(m);
      __syncthreads();
      ssim_sum += derive(s, m, channel, left, top);
      if (s.gradient) blur_maps_down(m);
    }
#pragma unroll
    for (int k = 0; k < LOSS_OWN; k++) {
      const int row = (int)threadIdx.x / LOSS_W + k * LOSS_STEP, py = top + row;
      if (px >= s.width || py >= s.height) continue;
      const int64 at = (int64)py * s.width + px;
      const float x = m.x[row + 2 * LOSS_REACH][column + 2 * LOSS_REACH];
      const float y = m.y[row + 2 * LOSS_REACH][column + 2 * LOSS_REACH];
      const float difference = x - y, loss_value = fabsf(difference) * (1.0f / 3.0f);
      const float weight = s.l1_weight ? s.l1_weight[at] : 1.0f, l1_gradient = weight * (s.l1_factor * (1.0f / 3.0f));
      l1_sum = fmaf(weight, loss_value, l1_sum);
      l1_mean[k] += loss_value;
      if (!s.gradient) continue;
      float d = difference > 0.0f ? l1_gradient : difference < 0.0f ? -l1_gradient : 0.0f;
      if (s.with_ssim) {
        float blurred[3] = {0.0f, 0.0f, 0.0f};
#pragma unroll
        for (int c = 0; c < 3; c++)
#pragma unroll
          for (int t = -LOSS_REACH; t <= LOSS_REACH; t++)
            blurred[c] = fmaf(loss_tap(t), m.maps[c][row][column + LOSS_REACH + t], blurred[c]);
        d += blurred[0] + fmaf(2.0f * x, blurred[1], y * blurred[2]);
      }
      s.gradient[channel * plane + at] = d;
    }
    __syncthreads();
  }
  if (s.l1_map)
    for (int k = 0; k < LOSS_OWN; k++) {
      const int py = top + (int)threadIdx.x / LOSS_W + k * LOSS_STEP;
      if (px < s.width && py < s.height) s.l1_map[(int64)py * s.width + px] = l1_mean[k];
    }
  sum_losses(s, l1_sum, ssim_sum);
}
