// The C interface of the library. The best instruction set is selected when the library is loaded.
#include <stdlib.h>
#include <string.h>

#include "terms.h"

namespace {

// The kernels for an instruction set (null: the best one), or null if this machine or build lacks it.
const Terms* find(const char* name) {
  auto matches = [name](const char* set) { return name == nullptr || !strcmp(name, set); };
#if defined(__x86_64__)
  __builtin_cpu_init();
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  if (avx512 && matches("avx512")) return &terms_avx512;
  if (avx2 && matches("avx2")) return &terms_avx2;
#endif
  return matches("plain") ? &terms_plain : nullptr;
}

const Terms* chosen = find(nullptr);

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT const char* pointmap_alignment_simd() { return chosen->name; }

// Selects an instruction set ("auto": the best one). Returns 0 if this machine or build lacks it.
EXPORT int pointmap_alignment_set_simd(const char* name) {
  const Terms* found = find(strcmp(name, "auto") ? name : nullptr);
  if (found) chosen = found;
  return found != nullptr;
}

EXPORT void pointmap_alignment_pairwise(const PairwiseTerm* term, int64_t frame) { chosen->pairwise(term, frame); }

EXPORT void pointmap_alignment_flow(const FlowTerm* term, int64_t frame) { chosen->flow(term, frame); }
