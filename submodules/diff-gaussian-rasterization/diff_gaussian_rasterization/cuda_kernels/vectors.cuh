// Three-dimensional vectors, and access to tensors with any strides.
#pragma once
#include "frame.cuh"

struct Vec3 { float x, y, z; };

__device__ __forceinline__ Vec3 operator+(Vec3 a, Vec3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
__device__ __forceinline__ Vec3 operator-(Vec3 a, Vec3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
__device__ __forceinline__ Vec3 operator*(float s, Vec3 a) { return {s * a.x, s * a.y, s * a.z}; }
__device__ __forceinline__ float dot(Vec3 a, Vec3 b) { return fmaf(a.x, b.x, fmaf(a.y, b.y, a.z * b.z)); }
__device__ __forceinline__ Vec3 cross(Vec3 a, Vec3 b) {
  return {fmaf(a.y, b.z, -(a.z * b.y)), fmaf(a.z, b.x, -(a.x * b.z)), fmaf(a.x, b.y, -(a.y * b.x))};
}

struct Symmetric3 { float xx, xy, xz, yy, yz, zz; };

__device__ __forceinline__ Vec3 operator*(const Symmetric3& m, Vec3 a) {
  return {fmaf(m.xx, a.x, fmaf(m.xy, a.y, m.xz * a.z)), fmaf(m.xy, a.x, fmaf(m.yy, a.y, m.yz * a.z)),
          fmaf(m.xz, a.x, fmaf(m.yz, a.y, m.zz * a.z))};
}

__device__ __forceinline__ float* element(const Strided& t, int i, int k, int c) {
  return t.data + (i * t.stride_n + k * t.stride_k + c * t.stride_c);
}
__device__ __forceinline__ float get(const Strided& t, int i, int k, int c) { return *element(t, i, k, c); }
__device__ __forceinline__ Vec3 get3(const Strided& t, int i, int k) {
  return {get(t, i, k, 0), get(t, i, k, 1), get(t, i, k, 2)};
}
__device__ __forceinline__ Symmetric3 get_symmetric(const Strided& t, int i) {
  return {get(t, i, 0, 0), get(t, i, 0, 1), get(t, i, 0, 2), get(t, i, 0, 3), get(t, i, 0, 4), get(t, i, 0, 5)};
}
