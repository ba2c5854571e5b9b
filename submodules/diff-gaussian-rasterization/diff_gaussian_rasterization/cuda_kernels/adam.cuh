// Adam (Kingma and Ba 2015), algorithm 1 with epsilon beside the bias-corrected root.
#pragma once
#include "primitives.cuh"

struct AdamNumbers { float one_minus_beta1, one_minus_beta2, epsilon, inv_bias1, inv_root_bias2; };

// `step` counts from 1. 1 - beta^step without cancellation.
__device__ __forceinline__ AdamNumbers adam_numbers(float one_minus_beta1, float one_minus_beta2, float epsilon,
                                                    uint32 step) {
  const float bias1 = -expm1f((float)step * log1pf(-one_minus_beta1));
  const float bias2 = -expm1f((float)step * log1pf(-one_minus_beta2));
  return {one_minus_beta1, one_minus_beta2, epsilon, 1.0f / bias1, 1.0f / sqrtf(bias2)};
}

__device__ __forceinline__ float adam_step(const AdamNumbers& a, float rate, float parameter, float gradient,
                                           float& first, float& second) {
  first = fmaf(gradient - first, a.one_minus_beta1, first);
  second = fmaf(gradient * a.one_minus_beta2, gradient, second * (1.0f - a.one_minus_beta2));
  const float denominator = fmaf(sqrtf(second), a.inv_root_bias2, a.epsilon);
  return parameter - rate * a.inv_bias1 * (first / denominator);
}

enum { MAX_ADAM_GROUPS = 12, ADAM_THREADS = 256 };

struct AdamGroup {
  float* parameter;
  const float* gradient;
  float *first, *second;
  const unsigned char* visible;  // (count,) or null; element i belongs to Gaussian i % count
  int64 elements, count;
  float rate, unused;
};

struct AdamGroups {
  AdamGroup group[MAX_ADAM_GROUPS];
  int groups;
  uint32 step;
  float one_minus_beta1, one_minus_beta2, epsilon;
};

// All groups in one launch: blockIdx.y is the group.
extern "C" __global__ void __launch_bounds__(ADAM_THREADS) adam(const AdamGroups s) {
  const AdamGroup& g = s.group[blockIdx.y];
  const AdamNumbers numbers = adam_numbers(s.one_minus_beta1, s.one_minus_beta2, s.epsilon, s.step);
  for (int64 i = (int64)blockIdx.x * ADAM_THREADS + threadIdx.x; i < g.elements; i += (int64)gridDim.x * ADAM_THREADS) {
    if (g.visible && !g.visible[i % g.count]) continue;
    float first = g.first[i], second = g.second[i];
    g.parameter[i] = adam_step(numbers, g.rate, g.parameter[i], g.gradient[i], first, second);
    g.first[i] = first;
    g.second[i] = second;
  }
}
