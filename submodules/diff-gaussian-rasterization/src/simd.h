// Vector operations with one interface for all instruction sets. `kernels.cpp` is compiled once per set with its own flags;
// everything here has internal linkage, so that the linker cannot use a function built for one set in another.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#elif defined(STILLSPLAT_NEON)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline))

namespace {

#if defined(STILLSPLAT_AVX512)
enum { W = 16 };
#elif defined(STILLSPLAT_AVX2)
enum { W = 8 };
#else
enum { W = 4 };
#endif

typedef float vf __attribute__((vector_size(4 * W)));
typedef int32_t vi __attribute__((vector_size(4 * W)));

INLINE vf load(const float* p) { vf v; memcpy(&v, p, sizeof v); return v; }
INLINE void store(float* p, vf v) { memcpy(p, &v, sizeof v); }
// Store that bypasses the caches, for memory that is aligned to a vector and not needed soon. A thread calls `streamed`
// after its last one.
#if defined(STILLSPLAT_AVX512)
INLINE void stream(float* p, vf v) { _mm512_stream_ps(p, (__m512)v); }
INLINE void streamed() { _mm_sfence(); }
#elif defined(STILLSPLAT_AVX2)
INLINE void stream(float* p, vf v) { _mm256_stream_ps(p, (__m256)v); }
INLINE void streamed() { _mm_sfence(); }
#else
INLINE void stream(float* p, vf v) { store(p, v); }
INLINE void streamed() {}
#endif
#if defined(STILLSPLAT_AVX512)  // vf{} + x would compile to an addition, because of the sign of zero
INLINE vf set1(float x) { return (vf)_mm512_set1_ps(x); }
#elif defined(STILLSPLAT_AVX2)
INLINE vf set1(float x) { return (vf)_mm256_set1_ps(x); }
#else
INLINE vf set1(float x) { return vf{x, x, x, x}; }
#endif
INLINE vi set1i(int32_t x) { return vi{} + x; }
INLINE vi bits(vf v) { return (vi)v; }
INLINE vf from_bits(vi v) { return (vf)v; }
INLINE vf iota() { vf v; for (int i = 0; i < W; i++) v[i] = (float)i; return v; }

#if defined(STILLSPLAT_AVX512)
typedef __mmask16 vm;
INLINE vf fma(vf a, vf b, vf c) { return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
INLINE vf fnma(vf a, vf b, vf c) { return (vf)_mm512_fnmadd_ps((__m512)a, (__m512)b, (__m512)c); }
INLINE vm ge(vf a, vf b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GE_OQ); }
INLINE vm gt(vf a, vf b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ); }
INLINE vm ge_among(vm selected, vf a, vf b) { return _mm512_mask_cmp_ps_mask(selected, (__m512)a, (__m512)b, _CMP_GE_OQ); }
INLINE vm not_zero(vf a) { return _mm512_cmp_ps_mask((__m512)a, _mm512_setzero_ps(), _CMP_NEQ_UQ); }  // or NaN
INLINE vm not_zero(vi a) { return _mm512_test_epi32_mask((__m512i)a, (__m512i)a); }
// intrinsics, because operators would move masks through general registers
INLINE vm both(vm a, vm b) { return _kand_mask16(a, b); }
INLINE vm but_not(vm a, vm b) { return _kandn_mask16(b, a); }
INLINE bool any(vm m) { return !_kortestz_mask16_u8(m, m); }
INLINE vf select(vm m, vf a, vf b) { return (vf)_mm512_mask_blend_ps(m, (__m512)b, (__m512)a); }
INLINE vf zero_unless(vm m, vf a) { return (vf)_mm512_maskz_mov_ps(m, (__m512)a); }
INLINE uint32_t mask_bits(vm m) { return m; }
INLINE vm first_lanes(int n) { return (vm)(n >= 16 ? 0xffff : (1u << n) - 1); }
INLINE vf vmin(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE vf vmax(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vf vsqrt(vf a) { return (vf)_mm512_sqrt_ps((__m512)a); }
INLINE vf vfloor(vf a) { return (vf)_mm512_roundscale_ps((__m512)a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
INLINE float hsum(vf v) { return _mm512_reduce_add_ps((__m512)v); }
// an estimate of 14 bits and one Newton step: about full precision, without the slow division
INLINE vf reciprocal(vf a) {
  vf r = (vf)_mm512_rcp14_ps((__m512)a);
  return fma(r, fnma(a, r, vf{} + 1.0f), r);
}
#else
typedef vi vm;
#if defined(STILLSPLAT_AVX2)
INLINE vf fma(vf a, vf b, vf c) { return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
INLINE vf fnma(vf a, vf b, vf c) { return (vf)_mm256_fnmadd_ps((__m256)a, (__m256)b, (__m256)c); }
INLINE uint32_t mask_bits(vm m) { return (uint32_t)_mm256_movemask_ps((__m256)m); }
INLINE vf vmin(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE vf vmax(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE vf vsqrt(vf a) { return (vf)_mm256_sqrt_ps((__m256)a); }
INLINE vf vfloor(vf a) { return (vf)_mm256_floor_ps((__m256)a); }
#elif defined(__SSE2__)
INLINE vf fma(vf a, vf b, vf c) { return a * b + c; }
INLINE vf fnma(vf a, vf b, vf c) { return c - a * b; }
INLINE uint32_t mask_bits(vm m) { return (uint32_t)_mm_movemask_ps((__m128)m); }
INLINE vf vmin(vf a, vf b) { return (vf)_mm_min_ps((__m128)a, (__m128)b); }
INLINE vf vmax(vf a, vf b) { return (vf)_mm_max_ps((__m128)a, (__m128)b); }
INLINE vf vsqrt(vf a) { return (vf)_mm_sqrt_ps((__m128)a); }
INLINE vf vfloor(vf a) { for (int i = 0; i < W; i++) a[i] = floorf(a[i]); return a; }
#elif defined(STILLSPLAT_NEON)
INLINE vf fma(vf a, vf b, vf c) { return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
INLINE vf fnma(vf a, vf b, vf c) { return (vf)vfmsq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
INLINE uint32_t mask_bits(vm m) {
  uint32_t r = 0;
  for (int i = 0; i < W; i++) r |= (m[i] ? 1u : 0u) << i;
  return r;
}
INLINE vf vmin(vf a, vf b) { return a < b ? a : b; }
INLINE vf vmax(vf a, vf b) { return a > b ? a : b; }
INLINE vf vsqrt(vf a) { return (vf)vsqrtq_f32((float32x4_t)a); }
INLINE vf vfloor(vf a) { return (vf)vrndmq_f32((float32x4_t)a); }
#else
INLINE vf fma(vf a, vf b, vf c) { return a * b + c; }
INLINE vf fnma(vf a, vf b, vf c) { return c - a * b; }
INLINE uint32_t mask_bits(vm m) {
  uint32_t r = 0;
  for (int i = 0; i < W; i++) r |= (m[i] ? 1u : 0u) << i;
  return r;
}
INLINE vf vmin(vf a, vf b) { return a < b ? a : b; }
INLINE vf vmax(vf a, vf b) { return a > b ? a : b; }
INLINE vf vsqrt(vf a) { for (int i = 0; i < W; i++) a[i] = sqrtf(a[i]); return a; }
INLINE vf vfloor(vf a) { for (int i = 0; i < W; i++) a[i] = floorf(a[i]); return a; }
#endif
INLINE vf reciprocal(vf a) { return 1.0f / a; }
INLINE vm ge(vf a, vf b) { return a >= b; }
INLINE vm gt(vf a, vf b) { return a > b; }
INLINE vm not_zero(vf a) { return a != 0.0f; }
INLINE vm not_zero(vi a) { return a != 0; }
INLINE vm both(vm a, vm b) { return a & b; }
INLINE vm ge_among(vm selected, vf a, vf b) { return selected & (a >= b); }
INLINE vm but_not(vm a, vm b) { return a & ~b; }
#if defined(STILLSPLAT_NEON)
INLINE bool any(vm m) { return vmaxvq_u32((uint32x4_t)m) != 0; }
#else
INLINE bool any(vm m) { return mask_bits(m) != 0; }
#endif
INLINE vf select(vm m, vf a, vf b) { return m ? a : b; }
INLINE vf zero_unless(vm m, vf a) { return from_bits(m & bits(a)); }
INLINE vm first_lanes(int n) { vi v; for (int i = 0; i < W; i++) v[i] = i < n ? -1 : 0; return v; }
INLINE float hsum(vf v) {
  float part[W];
  memcpy(part, &v, sizeof v);
  for (int step = W / 2; step > 0; step /= 2)
    for (int i = 0; i < step; i++) part[i] += part[i + step];
  return part[0];
}
#endif

// Loads numbers in half precision.
#if defined(STILLSPLAT_AVX512)
INLINE vf load_half(const uint16_t* p) { return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p)); }
#else
INLINE vf load_half(const uint16_t* p) {
  typedef uint16_t halves __attribute__((vector_size(2 * W)));
  halves h;
  memcpy(&h, p, sizeof h);
  const vi v = __builtin_convertvector(h, vi);
  // the exponent bias of half precision is smaller by 112; the multiplication also converts subnormal numbers
  return from_bits(bits(from_bits((v & 0x7fff) << 13) * 0x1p112f) | (v & 0x8000) << 16);
}
#endif

// v << by; 0 where `by` is not in 0 to 31.
#if defined(STILLSPLAT_AVX512)
INLINE vi shift_left(vi v, vi by) { return (vi)_mm512_sllv_epi32((__m512i)v, (__m512i)by); }
#elif defined(STILLSPLAT_AVX2)
INLINE vi shift_left(vi v, vi by) { return (vi)_mm256_sllv_epi32((__m256i)v, (__m256i)by); }
#else
INLINE vi shift_left(vi v, vi by) {
  const vi most = vi{} + 31;
  return (v << (by & most)) & ((by & ~most) == vi{});
}
#endif

// Stores numbers, which must be integers, as int32.
INLINE void store_integers(int32_t* to, vf v) {
  const vi whole = __builtin_convertvector(v, vi);
  memcpy(to, &whole, sizeof whole);
}

// Transposes 16 fields of W structs to W structs of 16 numbers, and back.
#if defined(STILLSPLAT_AVX512)
INLINE void transpose16(const __m512* v, __m512* out) {
  __m512 a[16], b[16];
  for (int i = 0; i < 8; i++) {
    a[2 * i] = _mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]);
    a[2 * i + 1] = _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; j++) {
      const __m512d x = _mm512_castps_pd(a[i + j]), y = _mm512_castps_pd(a[i + j + 2]);
      b[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
      b[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
    }
  for (int j = 0; j < 4; j++) {
    const __m512 even0 = _mm512_shuffle_f32x4(b[j], b[4 + j], 0x88), even1 = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0x88);
    const __m512 odd0 = _mm512_shuffle_f32x4(b[j], b[4 + j], 0xdd), odd1 = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0xdd);
    out[j] = _mm512_shuffle_f32x4(even0, even1, 0x88);
    out[8 + j] = _mm512_shuffle_f32x4(even0, even1, 0xdd);
    out[4 + j] = _mm512_shuffle_f32x4(odd0, odd1, 0x88);
    out[12 + j] = _mm512_shuffle_f32x4(odd0, odd1, 0xdd);
  }
}
INLINE void transpose_to_rows(const vf* fields, float rows[][16]) { transpose16((const __m512*)fields, (__m512*)rows); }
INLINE void transpose_to_fields(const float rows[][16], vf* fields) { transpose16((const __m512*)rows, (__m512*)fields); }
#else
INLINE void transpose_to_rows(const vf* fields, float rows[][16]) {
  for (int f = 0; f < 16; f++)
    for (int l = 0; l < W; l++) rows[l][f] = fields[f][l];
}
INLINE void transpose_to_fields(const float rows[][16], vf* fields) {
  for (int f = 0; f < 16; f++)
    for (int l = 0; l < W; l++) fields[f][l] = rows[l][f];
}
#endif

#if defined(__SSE2__)
// Loads two neighboring numbers from each of four addresses: the four first ones into every piece (4 lanes) of `firsts`, the
// four second ones into every piece of `seconds`.
INLINE void pairs_to_pieces(const float* const* from, vf& firsts, vf& seconds) {
  const __m128 zero = _mm_setzero_ps();
  const __m128 ab = _mm_loadh_pi(_mm_loadl_pi(zero, (const __m64*)from[0]), (const __m64*)from[1]);
  const __m128 cd = _mm_loadh_pi(_mm_loadl_pi(zero, (const __m64*)from[2]), (const __m64*)from[3]);
  const __m128 low = _mm_shuffle_ps(ab, cd, 0x88), high = _mm_shuffle_ps(ab, cd, 0xdd);
#if defined(STILLSPLAT_AVX512)
  firsts = (vf)_mm512_broadcast_f32x4(low); seconds = (vf)_mm512_broadcast_f32x4(high);
#elif defined(STILLSPLAT_AVX2)
  firsts = (vf)_mm256_set_m128(low, low); seconds = (vf)_mm256_set_m128(high, high);
#else
  firsts = (vf)low; seconds = (vf)high;
#endif
}
#else
INLINE void pairs_to_pieces(const float* const* from, vf& firsts, vf& seconds) {
  firsts = vf{from[0][0], from[1][0], from[2][0], from[3][0]};
  seconds = vf{from[0][1], from[1][1], from[2][1], from[3][1]};
}
#endif

#if defined(STILLSPLAT_AVX512)
// Rearranges four blocks of 4x4 numbers, which lie side by side, to four rows of 16.
INLINE void blocks_to_rows(const vf* v, vf* rows) {
  const __m512 a = _mm512_shuffle_f32x4((__m512)v[0], (__m512)v[1], 0x44), b = _mm512_shuffle_f32x4((__m512)v[2], (__m512)v[3], 0x44);
  const __m512 c = _mm512_shuffle_f32x4((__m512)v[0], (__m512)v[1], 0xee), d = _mm512_shuffle_f32x4((__m512)v[2], (__m512)v[3], 0xee);
  rows[0] = (vf)_mm512_shuffle_f32x4(a, b, 0x88);
  rows[1] = (vf)_mm512_shuffle_f32x4(a, b, 0xdd);
  rows[2] = (vf)_mm512_shuffle_f32x4(c, d, 0x88);
  rows[3] = (vf)_mm512_shuffle_f32x4(c, d, 0xdd);
}
#endif

// Loads rows of four numbers, `stride` apart, as the pieces of a vector.
#if defined(STILLSPLAT_AVX512)
INLINE vf load_rows(const float* p, int64_t stride) {
  const __m512 a = _mm512_insertf32x4(_mm512_castps128_ps512(_mm_loadu_ps(p)), _mm_loadu_ps(p + stride), 1);
  return (vf)_mm512_insertf32x4(_mm512_insertf32x4(a, _mm_loadu_ps(p + 2 * stride), 2), _mm_loadu_ps(p + 3 * stride), 3);
}
#elif defined(STILLSPLAT_AVX2)
INLINE vf load_rows(const float* p, int64_t stride) {
  return (vf)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + stride), 1);
}
#else
INLINE vf load_rows(const float* p, int64_t) { return load(p); }
#endif

// A piece is four consecutive lanes of a vector. In each piece, four vectors are transposed like a 4x4 matrix.
#if defined(STILLSPLAT_AVX512)
INLINE void transpose_pieces(vf* v) {
  const __m512 a = _mm512_unpacklo_ps((__m512)v[0], (__m512)v[1]), b = _mm512_unpackhi_ps((__m512)v[0], (__m512)v[1]);
  const __m512 c = _mm512_unpacklo_ps((__m512)v[2], (__m512)v[3]), d = _mm512_unpackhi_ps((__m512)v[2], (__m512)v[3]);
  const __m512d ac = _mm512_unpacklo_pd((__m512d)a, (__m512d)c), ca = _mm512_unpackhi_pd((__m512d)a, (__m512d)c);
  const __m512d bd = _mm512_unpacklo_pd((__m512d)b, (__m512d)d), db = _mm512_unpackhi_pd((__m512d)b, (__m512d)d);
  v[0] = (vf)ac; v[1] = (vf)ca; v[2] = (vf)bd; v[3] = (vf)db;
}
// Broadcasts element k of each piece to the whole piece, in out[k].
INLINE void spread_pieces(vf v, vf* out) {
  out[0] = (vf)_mm512_permute_ps((__m512)v, 0x00);
  out[1] = (vf)_mm512_permute_ps((__m512)v, 0x55);
  out[2] = (vf)_mm512_permute_ps((__m512)v, 0xaa);
  out[3] = (vf)_mm512_permute_ps((__m512)v, 0xff);
}
// Piece k of the result is the sum of the pieces of v[k]; there are as many vectors as pieces in a vector.
INLINE vf sum_pieces(const vf* v) {
  const __m512 a = (__m512)v[0], b = (__m512)v[1], c = (__m512)v[2], d = (__m512)v[3];
  const __m512 x = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  const __m512 y = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x88), _mm512_shuffle_f32x4(c, d, 0xdd));
  return (vf)_mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd));
}
// The same where only v[0] and v[1] are not 0.
INLINE vf sum_pieces_of_two(const vf* v) {
  const __m512 a = (__m512)v[0], b = (__m512)v[1], zero = _mm512_setzero_ps();
  const __m512 x = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  return (vf)_mm512_add_ps(_mm512_shuffle_f32x4(x, zero, 0x88), _mm512_shuffle_f32x4(x, zero, 0xdd));
}
#elif defined(STILLSPLAT_AVX2)
INLINE void transpose_pieces(vf* v) {
  const __m256 a = _mm256_unpacklo_ps((__m256)v[0], (__m256)v[1]), b = _mm256_unpackhi_ps((__m256)v[0], (__m256)v[1]);
  const __m256 c = _mm256_unpacklo_ps((__m256)v[2], (__m256)v[3]), d = _mm256_unpackhi_ps((__m256)v[2], (__m256)v[3]);
  const __m256d ac = _mm256_unpacklo_pd((__m256d)a, (__m256d)c), ca = _mm256_unpackhi_pd((__m256d)a, (__m256d)c);
  const __m256d bd = _mm256_unpacklo_pd((__m256d)b, (__m256d)d), db = _mm256_unpackhi_pd((__m256d)b, (__m256d)d);
  v[0] = (vf)ac; v[1] = (vf)ca; v[2] = (vf)bd; v[3] = (vf)db;
}
INLINE void spread_pieces(vf v, vf* out) {
  out[0] = (vf)_mm256_permute_ps((__m256)v, 0x00);
  out[1] = (vf)_mm256_permute_ps((__m256)v, 0x55);
  out[2] = (vf)_mm256_permute_ps((__m256)v, 0xaa);
  out[3] = (vf)_mm256_permute_ps((__m256)v, 0xff);
}
INLINE vf sum_pieces(const vf* v) {
  const __m256 a = (__m256)v[0], b = (__m256)v[1];
  return (vf)_mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
}
INLINE vf sum_pieces_of_two(const vf* v) { return sum_pieces(v); }
#else
#if defined(__clang__)
#define SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define SHUFFLE(a, b, i, j, k, l) __builtin_shuffle(a, b, (vi){i, j, k, l})
#endif
INLINE void transpose_pieces(vf* v) {
  const vf a = SHUFFLE(v[0], v[1], 0, 4, 1, 5), b = SHUFFLE(v[0], v[1], 2, 6, 3, 7);
  const vf c = SHUFFLE(v[2], v[3], 0, 4, 1, 5), d = SHUFFLE(v[2], v[3], 2, 6, 3, 7);
  v[0] = SHUFFLE(a, c, 0, 1, 4, 5); v[1] = SHUFFLE(a, c, 2, 3, 6, 7);
  v[2] = SHUFFLE(b, d, 0, 1, 4, 5); v[3] = SHUFFLE(b, d, 2, 3, 6, 7);
}
INLINE void spread_pieces(vf v, vf* out) {
  for (int i = 0; i < 4; i++) out[i] = set1(v[i]);
}
INLINE vf sum_pieces(const vf* v) { return v[0]; }
INLINE vf sum_pieces_of_two(const vf* v) { return v[0]; }
#endif

INLINE vf vabs(vf v) { return from_bits(bits(v) & 0x7fffffff); }
INLINE vf vclamp(vf v, vf lo, vf hi) { return vmin(vmax(v, lo), hi); }

// 2^x for x in [EXP2_LOWEST, EXP2_HIGHEST], relative error below 1e-6.
const float EXP2_HIGHEST = 126.0f;
#if defined(STILLSPLAT_AVX512)
const float EXP2_LOWEST = -124.0f;  // the table's powers are smaller than the result by a factor of 4
#else
const float EXP2_LOWEST = -126.0f;
#endif
#if defined(STILLSPLAT_AVX512)
// Rounds to the nearest sixteenth, whose power comes from a table in a register, then uses a minimax polynomial on
// [-1/32, 1/32], c ((f + 1.4428)^2 + 2.0811): one multiplication and one multiply-add, the scarcest instructions here.
INLINE vf exp2_bounded(vf x) {
  const float magic = 786432.0f;  // 1.5 * 2^19: adding it rounds to sixteenths, whose number is then in the low bits
  // bits of c 2^(i / 16), minus i << 19, which the addition of `shifted << 19` below adds again
  alignas(64) static const uint32_t powers[16] = {
    0x3e75fc17, 0x3e78700d, 0x3e761fc7, 0x3e740ff3, 0x3e72436e, 0x3e70bd31, 0x3e6f8059, 0x3e6e9027,
    0x3e6deffe, 0x3e6da36a, 0x3e6dae1f, 0x3e6e13f9, 0x3e6ed901, 0x3e70016f, 0x3e7191a9, 0x3e738e48};
  const vf shifted = x + magic, f = x - (shifted - magic), from_vertex = f + 1.44282196f;
  const vf power = (vf)_mm512_permutexvar_ps((__m512i)shifted, _mm512_load_ps(powers));
  const vf scale = from_bits(bits(power) + (bits(shifted) << 19));
  return fma(from_vertex, from_vertex, set1(2.08112486f)) * scale;
}
#else
// Rounds to the nearest integer, then uses a minimax polynomial on [-1/2, 1/2].
INLINE vf exp2_bounded(vf x) {
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, which is then in the low bits
  const float coefficients[6] = {0.00132764716f, 0.00967554133f, 0.0555071327f, 0.240221197f, 0.693146967f, 1.00000007f};
  const vf shifted = x + magic, f = x - (shifted - magic);
  vf p = set1(coefficients[0]);
  for (int i = 1; i < 6; i++) p = fma(p, f, set1(coefficients[i]));
  return from_bits(bits(p) + (bits(shifted) << 23));
}
#endif

// e^x, with the exponent clamped to what exp2_bounded takes; NaN for NaN, which the clamp would hide.
INLINE vf exp_any(vf x) {
  const vf bounded = vclamp(x * set1(1.44269504f), set1(EXP2_LOWEST), set1(EXP2_HIGHEST));
  return select(ge(x, x), exp2_bounded(bounded), x);
}

// log2(x) for normal positive x, absolute error about 1e-7: x = 2^k m with m in [sqrt(1/2), sqrt(2)),
// ln m = 2 atanh((m - 1) / (m + 1)) as a series.
INLINE vf log2_positive(vf x) {
  vi b = bits(x) - 0x3f3504f3;
  vi k = b >> 23;
  vf m = from_bits((b & 0x007fffff) + 0x3f3504f3);
  vf s = (m - 1.0f) / (m + 1.0f);
  vf t = s * s;
  vf p = fma(set1(0.2222222222f), t, set1(0.2857142857f));
  p = fma(p, t, set1(0.4f));
  p = fma(p, t, set1(0.6666666667f));
  vf ln = fma(p * t, s, s + s);
  return fma(ln, set1(1.44269504f), __builtin_convertvector(k, vf));
}

}  // namespace
