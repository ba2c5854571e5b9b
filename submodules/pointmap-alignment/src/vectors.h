// The vector operations that the compiler's vector types lack.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

namespace {

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX2__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int32_t Bits __attribute__((vector_size(4 * LANES)));

INLINE Vector load(const float* p) {
  Vector v;
  memcpy(&v, p, sizeof v);
  return v;
}
INLINE void store(float* p, Vector v) { memcpy(p, &v, sizeof v); }
INLINE Vector spread(float x) { return Vector{} + x; }

// Converts half precision to float. Without AVX2, infinity and NaN become numbers above the largest half, 65504.
INLINE Vector load(const uint16_t* p) {
#if defined(__AVX512F__)
  return (Vector)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
#elif defined(__AVX2__)
  return (Vector)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
#else
  Bits h;
  for (int i = 0; i < LANES; i++) h[i] = p[i];
  Vector magnitude = (Vector)((h & 0x7fff) << 13) * 0x1p112f;
  return (Vector)((Bits)magnitude | ((h & 0x8000) << 16));
#endif
}

// 1 / sqrt(x) of positive x, to about single precision
INLINE Vector inverse_root(Vector x) {
#if defined(__AVX512F__)
  Vector y = (Vector)_mm512_rsqrt14_ps((__m512)x);
#elif defined(__AVX2__)
  Vector y = (Vector)_mm256_rsqrt_ps((__m256)x);
#else
  Vector y;
  for (int i = 0; i < LANES; i++) y[i] = 1.0f / sqrtf(x[i]);
  return y;
#endif
#if defined(__AVX2__)
  return y * (1.5f - 0.5f * x * y * y);
#endif
}

// Comparisons set the lanes of a mask; those with NaN are false.
#if defined(__AVX512F__)
typedef __mmask16 Mask;
INLINE Mask less(Vector a, Vector b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ); }
INLINE Mask at_most(Vector a, Vector b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LE_OQ); }
INLINE Vector where(Mask m, Vector v) { return (Vector)_mm512_maskz_mov_ps(m, (__m512)v); }
INLINE int lanes(Mask m) { return __builtin_popcount(m); }
INLINE Vector larger(Vector a, Vector b) { return (Vector)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE Vector smaller(Vector a, Vector b) { return (Vector)_mm512_min_ps((__m512)a, (__m512)b); }
#else
typedef Bits Mask;
INLINE Mask less(Vector a, Vector b) { return a < b; }
INLINE Mask at_most(Vector a, Vector b) { return a <= b; }
INLINE Vector where(Mask m, Vector v) { return (Vector)(m & (Bits)v); }
INLINE int lanes(Mask m) {
#if defined(__AVX2__)
  return __builtin_popcount(_mm256_movemask_ps((__m256)m));
#else
  int count = 0;
  for (int i = 0; i < LANES; i++) count -= m[i];
  return count;
#endif
}
INLINE Vector larger(Vector a, Vector b) { return a > b ? a : b; }
INLINE Vector smaller(Vector a, Vector b) { return a < b ? a : b; }
#endif
INLINE Vector size(Vector v) { return (Vector)((Bits)v & 0x7fffffff); }

// 1 / x to about single precision
INLINE Vector inverse(Vector x) {
#if defined(__AVX512F__)
  Vector y = (Vector)_mm512_rcp14_ps((__m512)x);
  return y + y * (1.0f - x * y);
#else
  return 1.0f / x;
#endif
}

INLINE double sum(Vector v) {
  float part[LANES];
  memcpy(part, &v, sizeof v);
  for (int step = LANES / 2; step > 0; step /= 2)
    for (int i = 0; i < step; i++) part[i] += part[i + step];
  return part[0];
}

}  // namespace
