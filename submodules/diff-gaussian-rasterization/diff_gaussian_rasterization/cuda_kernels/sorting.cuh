// One pass of a stable least-significant-digit radix sort of (key, value) pairs by eight bits, with a single read and
// write of the data ("onesweep", Adinets and Merrill 2022). The histogram of the digit must be computed beforehand.
#pragma once
#include "primitives.cuh"

extern "C" __global__ void __launch_bounds__(SORT_THREADS) sort_pass(const SortPass s) {
  enum { WARPS = SORT_THREADS / 32 };
  __shared__ uint32 block_shared, scratch[8];
  __shared__ uint32 positions[WARPS][DIGITS];  // of each warp's first item of a digit, within the sorted items of the block
  __shared__ uint32 global_base[DIGITS];       // output position of a digit's items, minus their position in the block
  __shared__ uint32 keys[SORT_BLOCK], values[SORT_BLOCK];
  const uint32 thread = threadIdx.x, lane = lane_index(), warp = thread >> 5;
  const uint32 available = *s.count, count = available < s.capacity ? available : s.capacity;
  const uint32 block = take_ticket(s.ticket, &block_shared);
  if (block * SORT_BLOCK >= count) return;
  const uint32 begin = block * SORT_BLOCK, items = count - begin < SORT_BLOCK ? count - begin : SORT_BLOCK;
  for (int w = 0; w < WARPS; w++) positions[w][thread] = 0;
  __syncthreads();
  // each warp has a contiguous range of items, so that counting warp by warp keeps the order
  uint32 key[SORT_ITEMS], rank[SORT_ITEMS];
  const uint32 first = warp * (32 * SORT_ITEMS) + lane;
#pragma unroll
  for (int j = 0; j < SORT_ITEMS; j++) {
    const uint32 at = first + 32 * j;
    const bool valid = at < items;
    key[j] = valid ? s.keys_in[begin + at] : 0xffffffffu;
    const uint32 digit = (key[j] >> s.shift) % DIGITS;
    // lanes past the end match only each other
    const uint32 peers = __match_any_sync(ALL_LANES, valid ? digit : (uint32)DIGITS);
    const uint32 below = __popc(peers & ((1u << lane) - 1u));
    const uint32 before = valid ? positions[warp][digit] : 0u;
    rank[j] = before + below;
    __syncwarp();
    if (valid && below == 0) positions[warp][digit] = before + __popc(peers);
    __syncwarp();
  }
  __syncthreads();
  // from here on thread d handles digit d
  uint32 digit_count = 0;
  for (int w = 0; w < WARPS; w++) {
    const uint32 times = positions[w][thread];
    positions[w][thread] = digit_count;
    digit_count += times;
  }
  uint32* status = s.status + thread;
  if (block == 0) publish(status, STATUS_INCLUSIVE | digit_count);
  else publish(status + (int64)block * DIGITS, STATUS_AGGREGATE | digit_count);
  uint32 total;
  const uint32 in_block = block_exclusive_scan(digit_count, scratch, total);
  __syncthreads();
  const uint32 smaller = block_exclusive_scan(s.histogram[thread], scratch, total);
  uint32 before = 0;
  for (int64 at = (int64)block - 1; at >= 0; at--) {
    uint32 word;
    do word = observe(status + at * DIGITS);
    while ((word >> STATUS_BITS) == 0);
    before += word & STATUS_VALUE;
    if (word & STATUS_INCLUSIVE) break;
  }
  if (block) publish(status + (int64)block * DIGITS, STATUS_INCLUSIVE | (before + digit_count));
  global_base[thread] = smaller + before - in_block;
  for (int w = 0; w < WARPS; w++) positions[w][thread] += in_block;
  __syncthreads();
#pragma unroll
  for (int j = 0; j < SORT_ITEMS; j++) {
    const uint32 at = first + 32 * j;
    if (at < items) {
      const uint32 position = positions[warp][(key[j] >> s.shift) % DIGITS] + rank[j];
      keys[position] = key[j];
      values[position] = s.values_in[begin + at];
    }
  }
  __syncthreads();
  for (uint32 at = thread; at < items; at += SORT_THREADS) {
    const uint32 to = global_base[(keys[at] >> s.shift) % DIGITS] + at;
    s.keys_out[to] = keys[at];
    s.values_out[to] = values[at];
  }
}
