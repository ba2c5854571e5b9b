// One step of Adam for W numbers.
#pragma once
#include "simd.h"

namespace {

struct AdamRates { vf one_minus_beta1, beta2, one_minus_beta2, inv_root_bias2, epsilon, rate; };

INLINE AdamRates adam_rates(float rate_by_bias1, float inv_root_bias2, float beta1, float beta2, float epsilon) {
  return {set1(1.0f - beta1), set1(beta2), set1(1.0f - beta2), set1(inv_root_bias2), set1(epsilon),
          set1(rate_by_bias1)};
}

// Adam (Kingma and Ba 2015), algorithm 1 with epsilon beside the bias-corrected root.
INLINE vf adam_lanes(const AdamRates& a, vf parameter, vf gradient, vf& first, vf& second) {
  first = fma(gradient - first, a.one_minus_beta1, first);
  second = fma(gradient * a.one_minus_beta2, gradient, second * a.beta2);
  vf denominator = fma(vsqrt(second), a.inv_root_bias2, a.epsilon);
  return parameter - a.rate * (first / denominator);
}

}  // namespace
