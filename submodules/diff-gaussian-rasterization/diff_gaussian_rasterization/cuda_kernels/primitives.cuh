// Building blocks of the kernels: sums and scans over a warp, a block and the grid.
#pragma once
#include "frame.cuh"

#define ALL_LANES 0xffffffffu

// Tests compile the kernels for the host, where exact functions stand in for the approximate ones.
#if defined(__CUDACC_RTC__)
__device__ __forceinline__ float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float fast_reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
// Reads a word that another block may write at the same time.
__device__ __forceinline__ uint32 observe(const uint32* status) { return *(const volatile uint32*)status; }
#else
inline float fast_exp2(float x) { return exp2f(x); }
inline float fast_reciprocal(float x) { return 1.0f / x; }
inline uint32 observe(const uint32* status) { return load_or_yield(status); }
#endif

__device__ __forceinline__ uint32 lane_index() { return threadIdx.x & 31u; }

__device__ __forceinline__ uint32 warp_inclusive_scan(uint32 value) {
  for (uint32 step = 1; step < 32; step *= 2) {
    uint32 below = __shfl_up_sync(ALL_LANES, value, step);
    if (lane_index() >= step) value += below;
  }
  return value;
}

__device__ __forceinline__ float warp_sum(float value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(ALL_LANES, value, step);
  return value;
}

// Sum of the values of the threads before this one in a block of 256; `total` is the sum over all threads. `scratch` has 8
// elements and may be reused after the next barrier of the block.
__device__ __forceinline__ uint32 block_exclusive_scan(uint32 value, uint32* scratch, uint32& total) {
  uint32 inclusive = warp_inclusive_scan(value), warp = threadIdx.x >> 5;
  if (lane_index() == 31) scratch[warp] = inclusive;
  __syncthreads();
  uint32 before = 0;
  total = 0;
  for (uint32 w = 0; w < 8; w++) {
    uint32 sum = scratch[w];
    if (w < warp) before += sum;
    total += sum;
  }
  return before + inclusive - value;
}

// Numbers the blocks in the order in which they start, so that a block never waits for one that has not started.
__device__ __forceinline__ uint32 take_ticket(uint32* ticket, uint32* shared) {
  if (threadIdx.x == 0) *shared = atomicAdd(ticket, 1u);
  __syncthreads();
  return *shared;
}

enum { STATUS_BITS = 30 };
const uint32 STATUS_AGGREGATE = 1u << STATUS_BITS, STATUS_INCLUSIVE = 2u << STATUS_BITS,
             STATUS_VALUE = (1u << STATUS_BITS) - 1u;

// Flag and value are in one word, so that no fence between them is needed.
__device__ __forceinline__ void publish(uint32* status, uint32 word) { atomicExch(status, word); }

__device__ __forceinline__ uint32 add_saturated(uint32 a, uint32 b) {
  return a + b < STATUS_VALUE ? a + b : STATUS_VALUE;
}

// Single-pass scan over blocks by decoupled look-back (Merrill and Garland 2016). One warp of each block calls it with the
// sum of the block and gets, in all lanes, the sum over blocks [0, block). Sums saturate at STATUS_VALUE, so that they
// never overwrite the flags.
__device__ __forceinline__ uint32 look_back(uint32* status, uint32 block, uint32 sum) {
  const uint32 lane = lane_index();
  sum = add_saturated(sum, 0);
  if (lane == 0) publish(&status[block], (block ? STATUS_AGGREGATE : STATUS_INCLUSIVE) | sum);
  if (block == 0) return 0;
  uint32 before = 0;
  for (int nearest = (int)block - 1;; nearest -= 32) {
    const int at = nearest - (int)lane;
    uint32 word = STATUS_INCLUSIVE;  // before the first block the sum is 0
    do {
      if (at >= 0) word = observe(&status[at]);
    } while (__any_sync(ALL_LANES, (word >> STATUS_BITS) == 0));
    const uint32 inclusive = __ballot_sync(ALL_LANES, (word & STATUS_INCLUSIVE) != 0);
    const uint32 last = inclusive ? __ffs(inclusive) - 1 : 31;
    uint32 nearer = lane <= last ? word & STATUS_VALUE : 0u;
    for (int step = 16; step > 0; step /= 2) nearer = add_saturated(nearer, __shfl_xor_sync(ALL_LANES, nearer, step));
    before = add_saturated(before, nearer);
    if (inclusive) break;
  }
  if (lane == 0) publish(&status[block], STATUS_INCLUSIVE | add_saturated(before, sum));
  return before;
}

__device__ __forceinline__ float clamp(float value, float low, float high) { return fminf(fmaxf(value, low), high); }
