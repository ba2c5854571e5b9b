// Adam (Kingma and Ba 2015), algorithm 1: epsilon is added to the root of the bias-corrected second moment.
#pragma once
#include "primitives.cuh"

struct AdamConstants { float one_minus_beta1, one_minus_beta2, epsilon, inv_bias_correction1, inv_root_bias_correction2; };

// The constants of step `step`, which counts from 1. 1 - beta^step is computed without cancellation.
__device__ __forceinline__ AdamConstants adam_constants(float one_minus_beta1, float one_minus_beta2, float epsilon,
                                                    uint32 step) {
  const float bias1 = -expm1f((float)step * log1pf(-one_minus_beta1));
  const float bias2 = -expm1f((float)step * log1pf(-one_minus_beta2));
  return {one_minus_beta1, one_minus_beta2, epsilon, 1.0f / bias1, 1.0f / sqrtf(bias2)};
}

__device__ __forceinline__ float adam_step(const AdamConstants& a, float learning_rate, float parameter, float gradient,
                                           float& exp_avg, float& exp_avg_sq) {
  exp_avg = fmaf(gradient - exp_avg, a.one_minus_beta1, exp_avg);
  exp_avg_sq = fmaf(gradient * a.one_minus_beta2, gradient, exp_avg_sq * (1.0f - a.one_minus_beta2));
  const float denominator = fmaf(sqrtf(exp_avg_sq), a.inv_root_bias_correction2, a.epsilon);
  return parameter - learning_rate * a.inv_bias_correction1 * (exp_avg / denominator);
}

enum { MAX_ADAM_GROUPS = 12, ADAM_THREADS = 256 };

struct AdamGroup {
  float* parameter;
  const float* gradient;
  float *exp_avg, *exp_avg_sq;
  const unsigned char* visible;  // (count,) or null; element i belongs to Gaussian i % count
  int64 elements, count;
  float learning_rate, unused;
};

struct AdamGroups {
  AdamGroup group[MAX_ADAM_GROUPS];
  int groups;
  uint32 step;
  float one_minus_beta1, one_minus_beta2, epsilon;
};

// One step for all groups in one launch; blockIdx.y is the group.
extern "C" __global__ void __launch_bounds__(ADAM_THREADS) adam(const AdamGroups s) {
  const AdamGroup& g = s.group[blockIdx.y];
  const AdamConstants constants = adam_constants(s.one_minus_beta1, s.one_minus_beta2, s.epsilon, s.step);
  for (int64 i = (int64)blockIdx.x * ADAM_THREADS + threadIdx.x; i < g.elements; i += (int64)gridDim.x * ADAM_THREADS) {
    if (g.visible && !g.visible[i % g.count]) continue;
    float exp_avg = g.exp_avg[i], exp_avg_sq = g.exp_avg_sq[i];
    g.parameter[i] = adam_step(constants, g.learning_rate, g.parameter[i], g.gradient[i], exp_avg, exp_avg_sq);
    g.exp_avg[i] = exp_avg;
    g.exp_avg_sq[i] = exp_avg_sq;
  }
}
