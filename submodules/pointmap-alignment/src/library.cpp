// The library's C interface: picks the best instruction set when it is loaded.
#include <stdlib.h>
#include <string.h>

#include "terms.h"

namespace {

const Terms* find(const char* name) {
  auto wanted = [name](const char* set) { return name == nullptr || !strcmp(name, set); };
#if defined(__x86_64__)
  __builtin_cpu_init();
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  if (avx512 && wanted("avx512")) return &terms_avx512;
  if (avx2 && wanted("avx2")) return &terms_avx2;
#endif
  return wanted("plain") ? &terms_plain : nullptr;
}

const Terms* chosen = find(nullptr);

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT const char* pointmap_alignment_simd() { return chosen->name; }

// 0 where this machine or this build does not have the set; "auto" takes the best.
EXPORT int pointmap_alignment_set_simd(const char* name) {
  const Terms* found = find(strcmp(name, "auto") ? name : nullptr);
  if (found) chosen = found;
  return found != nullptr;
}

EXPORT void pointmap_alignment_pairwise(const PairwiseTerm* term, int64_t frame) { chosen->pairwise(term, frame); }

EXPORT void pointmap_alignment_flow(const FlowTerm* term, int64_t frame) { chosen->flow(term, frame); }
