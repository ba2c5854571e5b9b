// Three-dimensional vectors of W lanes, loading of W Gaussians into lanes, and prefetching.
#pragma once
#include "kernels.h"
#include "simd.h"

namespace {

struct Vec3 { vf x, y, z; };
INLINE Vec3 operator+(Vec3 a, Vec3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
INLINE Vec3 operator-(Vec3 a, Vec3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
INLINE Vec3 operator*(vf s, Vec3 a) { return {s * a.x, s * a.y, s * a.z}; }
INLINE vf dot(Vec3 a, Vec3 b) { return fma(a.x, b.x, fma(a.y, b.y, a.z * b.z)); }
INLINE Vec3 cross(Vec3 a, Vec3 b) {
  return {fma(a.y, b.z, -(a.z * b.y)), fma(a.z, b.x, -(a.x * b.z)), fma(a.x, b.y, -(a.y * b.x))};
}

// Address of the first number of Gaussian i. W Gaussians that start at a multiple of W lie in one group.
INLINE float* address_of(const Strided& t, int64_t i) { return t.data + i / GROUP * t.stride_group + i % GROUP * t.stride_n; }

// Floats to prefetch ahead in the contiguous layout, which has more memory streams than the hardware prefetcher follows.
enum { PREFETCH_DISTANCE = 4 * W };
// Into the L2 cache: the L1 cache has few buffers for outstanding loads, and the current computation needs them.
INLINE void prefetch(const void* p) { __builtin_prefetch(p, 0, 2); }
INLINE bool grouped(const Strided& t) { return t.stride_n == 1 && t.stride_group != GROUP; }

// terms x components vectors of W Gaussians, with the strides between them and the distance to prefetch, in floats.
struct Lanes { float* data; int64_t term, component, prefetch_distance; };

INLINE vf at(const Lanes& t, int term, int component) {
  const float* p = t.data + term * t.term + component * t.component;
  prefetch(p + t.prefetch_distance);
  return load(p);
}
INLINE Vec3 vector_at(const Lanes& t, int term) { return {at(t, term, 0), at(t, term, 1), at(t, term, 2)}; }
// For data that has already been prefetched in another way.
INLINE Vec3 vector_at_without_prefetch(const Lanes& t, int term) {
  const float* p = t.data + term * t.term;
  return {load(p), load(p + t.component), load(p + 2 * t.component)};
}

// Copies W Gaussians from i on in any layout; lanes past `valid` repeat the last Gaussian.
__attribute__((noinline)) void gather(const Strided& t, int64_t i, int valid, int terms, int components, float* scratch) {
  for (int k = 0; k < terms; k++)
    for (int c = 0; c < components; c++) {
      const float* p = address_of(t, i) + k * t.stride_k + c * t.stride_c;
      for (int l = 0; l < W; l++) *scratch++ = p[(l < valid ? l : valid - 1) * t.stride_n];
    }
}

// Where Gaussians are contiguous their memory is used directly; in any other layout they are copied to `scratch`.
INLINE Lanes lanes_of(const Strided& t, int64_t i, int valid, int terms, int components, float* scratch) {
  if (t.stride_n == 1 && valid == W) return {address_of(t, i), t.stride_k, t.stride_c, grouped(t) ? 0 : PREFETCH_DISTANCE};
  gather(t, i, valid, terms, components, scratch);
  return {scratch, (int64_t)components * W, W, 0};
}

__attribute__((noinline)) void scatter(const Strided& t, int64_t i, int valid, int terms, int components, const float* from) {
  for (int k = 0; k < terms; k++)
    for (int c = 0; c < components; c++, from += W) {
      float* p = address_of(t, i) + k * t.stride_k + c * t.stride_c;
      for (int l = 0; l < valid; l++) p[l * t.stride_n] = from[l];
    }
}

INLINE void write(const Strided& t, int64_t i, int valid, int terms, int components, const vf* values) {
  if (t.stride_n == 1 && valid == W) {
    for (int k = 0; k < terms; k++)
      for (int c = 0; c < components; c++) store(address_of(t, i) + k * t.stride_k + c * t.stride_c, *values++);
  } else {
    scatter(t, i, valid, terms, components, (const float*)values);
  }
}

// Copies Gaussians from one layout to another, W at a time.
void copy(const Strided* from, const Strided* to, int64_t begin, int64_t end, int terms, int components) {
  vf values[48];
  for (int64_t i = begin; i < end; i += W) {
    const int valid = end - i < W ? (int)(end - i) : W;
    float scratch[48 * W] __attribute__((aligned(64)));
    const Lanes lanes = lanes_of(*from, i, valid, terms, components, scratch);
    for (int k = 0; k < terms; k++)
      for (int c = 0; c < components; c++) values[k * components + c] = at(lanes, k, c);
    write(*to, i, valid, terms, components, values);
  }
}

}  // namespace
