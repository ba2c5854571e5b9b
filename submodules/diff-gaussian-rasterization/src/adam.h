// One step of Adam for a vector of W numbers.
#pragma once
#include "simd.h"

namespace {

struct AdamConstants { vf one_minus_beta1, beta2, one_minus_beta2, inv_root_bias_correction2, epsilon, step_size; };

INLINE AdamConstants adam_constants(float step_size, float inv_root_bias_correction2, float beta1, float beta2,
                                    float epsilon) {
  return {set1(1.0f - beta1), set1(beta2), set1(1.0f - beta2), set1(inv_root_bias_correction2), set1(epsilon),
          set1(step_size)};
}

// Adam (Kingma and Ba 2015), algorithm 1: epsilon is added to the root of the bias-corrected second moment.
INLINE vf adam_lanes(const AdamConstants& a, vf parameter, vf gradient, vf& exp_avg, vf& exp_avg_sq) {
  exp_avg = fma(gradient - exp_avg, a.one_minus_beta1, exp_avg);
  exp_avg_sq = fma(gradient * a.one_minus_beta2, gradient, exp_avg_sq * a.beta2);
  vf denominator = fma(vsqrt(exp_avg_sq), a.inv_root_bias_correction2, a.epsilon);
  return parameter - a.step_size * (exp_avg / denominator);
}

}  // namespace
