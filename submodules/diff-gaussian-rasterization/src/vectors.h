// Three-dimensional vectors of W lanes, and how the components of W Gaussians get into lanes.
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

// The first number of Gaussian i; W of them from a multiple of W on never reach into another group.
INLINE float* place_of(const Strided& t, int64_t i) { return t.data + i / GROUP * t.stride_group + i % GROUP * t.stride_n; }

// How far to prefetch: where Gaussians are contiguous there are more streams than the hardware follows.
enum { AHEAD = 4 * W };
// To the second cache: the first has few places for lines that are on their way, and the work at hand needs them.
INLINE void ask_for(const void* p) { __builtin_prefetch(p, 0, 2); }
INLINE bool grouped(const Strided& t) { return t.stride_n == 1 && t.stride_group != GROUP; }

// terms x components vectors of W Gaussians, and how far behind them those lie that must be asked for
struct Lanes { float* data; int64_t term, component, ahead; };

INLINE vf at(const Lanes& t, int term, int component) {
  const float* p = t.data + term * t.term + component * t.component;
  ask_for(p + t.ahead);
  return load(p);
}
INLINE Vec3 vector_at(const Lanes& t, int term) { return {at(t, term, 0), at(t, term, 1), at(t, term, 2)}; }
// Without asking for what comes next: somebody else has.
INLINE Vec3 near_vector_at(const Lanes& t, int term) {
  const float* p = t.data + term * t.term;
  return {load(p), load(p + t.component), load(p + 2 * t.component)};
}

// Lanes past `valid` repeat the last Gaussian.
__attribute__((noinline)) void gather(const Strided& t, int64_t i, int valid, int terms, int components, float* room) {
  for (int k = 0; k < terms; k++)
    for (int c = 0; c < components; c++) {
      const float* p = place_of(t, i) + k * t.stride_k + c * t.stride_c;
      for (int l = 0; l < W; l++) *room++ = p[(l < valid ? l : valid - 1) * t.stride_n];
    }
}

// Memory without gaps between Gaussians is used where it lies; anything else is copied into `room`.
INLINE Lanes lanes_of(const Strided& t, int64_t i, int valid, int terms, int components, float* room) {
  if (t.stride_n == 1 && valid == W) return {place_of(t, i), t.stride_k, t.stride_c, grouped(t) ? 0 : AHEAD};
  gather(t, i, valid, terms, components, room);
  return {room, (int64_t)components * W, W, 0};
}

__attribute__((noinline)) void scatter(const Strided& t, int64_t i, int valid, int terms, int components, const float* from) {
  for (int k = 0; k < terms; k++)
    for (int c = 0; c < components; c++, from += W) {
      float* p = place_of(t, i) + k * t.stride_k + c * t.stride_c;
      for (int l = 0; l < valid; l++) p[l * t.stride_n] = from[l];
    }
}

INLINE void write(const Strided& t, int64_t i, int valid, int terms, int components, const vf* values) {
  if (t.stride_n == 1 && valid == W) {
    for (int k = 0; k < terms; k++)
      for (int c = 0; c < components; c++) store(place_of(t, i) + k * t.stride_k + c * t.stride_c, *values++);
  } else {
    scatter(t, i, valid, terms, components, (const float*)values);
  }
}

// From one layout into another, W Gaussians at a time.
void copy(const Strided* from, const Strided* to, int64_t begin, int64_t end, int terms, int components) {
  vf values[48];
  for (int64_t i = begin; i < end; i += W) {
    const int valid = end - i < W ? (int)(end - i) : W;
    float room[48 * W] __attribute__((aligned(64)));
    const Lanes lanes = lanes_of(*from, i, valid, terms, components, room);
    for (int k = 0; k < terms; k++)
      for (int c = 0; c < components; c++) values[k * components + c] = at(lanes, k, c);
    write(*to, i, valid, terms, components, values);
  }
}

}  // namespace
