// The parts of CUDA C++ that the kernels use, implemented for the host, to run the kernels without a GPU. The threads of a
// block are fibers of one operating system thread; barriers and warp operations are points where fibers wait for each
// other. Several blocks run at once on a few operating system threads. A seed determines the order in which fibers are
// resumed, so that kernels with a missing barrier give different results for different seeds. If threads wait forever, or
// meet at different barriers, the program aborts with a message.
#pragma once
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define __device__
#define __global__
#define __forceinline__ inline
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

struct Dim { unsigned x, y, z; };
extern thread_local Dim threadIdx, blockIdx, gridDim;

// A barrier of the 32 lanes of a warp or of all threads of a block. Each lane contributes a value; `meet` returns all.
struct Meeting {
  unsigned arrived, generation, members;
  int line;
  uint64_t values[2][32];
};
const uint64_t* meet(bool whole_block, uint64_t value, int line);

#define __syncthreads() ((void)meet(true, 0, __LINE__))
#define __syncwarp() ((void)meet(false, 0, __LINE__))

template <class T>
uint64_t bits_of(T value) {
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  return bits;
}

template <class T>
T from_bits(uint64_t bits) {
  T value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

void require_all_lanes(unsigned mask);

template <class T>
T shuffle(unsigned mask, T value, unsigned lane, int line) {
  require_all_lanes(mask);
  const uint64_t* values = meet(false, bits_of(value), line);
  return from_bits<T>(values[lane % 32]);
}

#define __shfl_sync(mask, value, lane) shuffle(mask, value, (unsigned)(lane), __LINE__)
#define __shfl_xor_sync(mask, value, flip) shuffle(mask, value, (threadIdx.x % 32) ^ (unsigned)(flip), __LINE__)
#define __shfl_up_sync(mask, value, step) \
  shuffle(mask, value, threadIdx.x % 32 >= (unsigned)(step) ? threadIdx.x % 32 - (unsigned)(step) : threadIdx.x % 32, __LINE__)

inline unsigned ballot(unsigned mask, bool value, int line) {
  require_all_lanes(mask);
  const uint64_t* values = meet(false, value, line);
  unsigned bits = 0;
  for (int lane = 0; lane < 32; lane++) bits |= (unsigned)(values[lane] != 0) << lane;
  return bits;
}
#define __ballot_sync(mask, value) ballot(mask, value, __LINE__)
#define __any_sync(mask, value) (ballot(mask, value, __LINE__) != 0)

inline unsigned match_any(unsigned mask, uint64_t value, int line) {
  require_all_lanes(mask);
  const uint64_t* values = meet(false, value, line);
  unsigned bits = 0;
  for (int lane = 0; lane < 32; lane++) bits |= (unsigned)(values[lane] == value) << lane;
  return bits;
}
#define __match_any_sync(mask, value) match_any(mask, value, __LINE__)

inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __ffs(unsigned v) { return __builtin_ffs((int)v); }
inline unsigned __float_as_uint(float v) { return from_bits<unsigned>(bits_of(v)); }
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

inline unsigned atomicAdd(unsigned* p, unsigned v) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); }
unsigned load_or_yield(const unsigned* p);
void linger(unsigned word);
inline unsigned atomicExch(unsigned* p, unsigned v) {
  linger(v);
  return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);
}
inline unsigned atomicInc(unsigned* p, unsigned limit) {
  unsigned old = __atomic_load_n(p, __ATOMIC_SEQ_CST);
  while (!__atomic_compare_exchange_n(p, &old, old >= limit ? 0 : old + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {}
  return old;
}
inline float atomicAdd(float* p, float v) {
  float old;
  __atomic_load(p, &old, __ATOMIC_SEQ_CST);
  float next = old + v;
  while (!__atomic_compare_exchange(p, &old, &next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) next = old + v;
  return old;
}
