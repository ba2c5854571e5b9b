// The C interface of the library. The best instruction set is selected when the library is loaded.
#include <string.h>

#include "problem.h"

namespace {

// The kernels for an instruction set (null: the best one), or null if this machine or build lacks it.
const Kernels* find(const char* name) {
  auto matches = [name](const char* set) { return name == nullptr || !strcmp(name, set); };
#if defined(__x86_64__)
  __builtin_cpu_init();
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl");
  if (avx512 && matches("avx512")) return &kernels_avx512;
  if (avx2 && matches("avx2")) return &kernels_avx2;
#endif
  return matches("plain") ? &kernels_plain : nullptr;
}

const Kernels* chosen = find(nullptr);

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT const char* bundle_adjustment_simd() { return chosen->name; }

// Selects an instruction set ("auto": the best one). Returns 0 if this machine or build lacks it.
EXPORT int bundle_adjustment_set_simd(const char* name) {
  const Kernels* found = find(strcmp(name, "auto") ? name : nullptr);
  if (found) chosen = found;
  return found != nullptr;
}

// The number of entries of System::coupling.
EXPORT int64_t bundle_adjustment_coupling_size(const Problem* problem, const Unknowns* unknowns) {
  int64_t size = 0;
  for (int64_t h = 0; h < problem->host_count; h++)
    size += coupling_rows(problem->hosts[h], *unknowns) * stride(problem->hosts[h].tracks);
  return size;
}

EXPORT void bundle_adjustment_errors(const Problem* problem, const Cameras* cameras, const double* inverse_depths,
                                     double* out) {
  chosen->errors(problem, cameras, inverse_depths, out);
}

EXPORT double bundle_adjustment_cost(const Problem* problem, const Cameras* cameras, const double* inverse_depths) {
  return chosen->cost(problem, cameras, inverse_depths);
}

EXPORT void bundle_adjustment_linearize(const Problem* problem, const Cameras* cameras, const double* inverse_depths,
                                        const Unknowns* unknowns, const System* system) {
  chosen->linearize(problem, cameras, inverse_depths, unknowns, system);
}

EXPORT void bundle_adjustment_eliminate(const Problem* problem, const Unknowns* unknowns, const System* system,
                                        double damping, double* matrix, double* gradient) {
  chosen->eliminate(problem, unknowns, system, damping, matrix, gradient);
}

EXPORT void bundle_adjustment_move_depths(const Problem* problem, const Unknowns* unknowns, const System* system,
                                          double damping, const double* step, const double* inverse_depths, double* out) {
  chosen->move_depths(problem, unknowns, system, damping, step, inverse_depths, out);
}

EXPORT double bundle_adjustment_resection_cost(const Points* points, const Camera* camera, double square) {
  return chosen->resection_cost(points, camera, square);
}

EXPORT void bundle_adjustment_resection_equations(const Points* points, const Camera* camera, double square,
                                                  double* matrix, double* gradient) {
  chosen->resection_equations(points, camera, square, matrix, gradient);
}
