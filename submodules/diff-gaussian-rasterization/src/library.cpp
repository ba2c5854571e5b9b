// The library's C interface: a frame's workspace, binning, and the order of the stages.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <chrono>
#include <functional>
#include <new>

#include "kernels.h"
#include "threads.h"

using stillsplat::parallel_for;
using stillsplat::thread_count;

namespace {

// Grows, never shrinks, does not keep what it held.
template <class T>
class Buffer {
 public:
  ~Buffer() { free(data_); }
  T* reserve(int64_t count) {
    if (count > capacity_) {
      free(data_);
      data_ = nullptr;
      capacity_ = 0;
      int64_t want = count + count / 4 + 64;
      void* memory = nullptr;
      if (posix_memalign(&memory, 64, (size_t)want * sizeof(T)) != 0) throw std::bad_alloc();
      data_ = (T*)memory;
      capacity_ = want;
    }
    return data_;
  }
  T* data() const { return data_; }
  int64_t bytes() const { return capacity_ * (int64_t)sizeof(T); }

 private:
  T* data_ = nullptr;
  int64_t capacity_ = 0;
};

enum Stage { PROJECT, COVER, SORT, BIN, FORWARD, BACKWARD_TILES, BACKWARD_GAUSSIANS, STAGES };

struct Frame {
  Buffer<Splat> splats;
  Buffer<Pair> pairs;
  Buffer<Slot> slots;
  Buffer<uint8_t> slot_used;
  Buffer<TileEntry> entries;
  Buffer<uint32_t> keys, keys_next, order, order_next, histogram;
  Buffer<int64_t> chunk_pairs, chunk_visible, tile_start, tile_counts;
  Buffer<double> camera_sums;
  int64_t visible = 0, pair_capacity = 0, entry_count = 0;
  double seconds[STAGES] = {0};
};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

const Kernels* best() {
  const char* forced = getenv("STILLSPLAT_SIMD");
#if defined(__x86_64__)
  __builtin_cpu_init();
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  if (forced && !strcmp(forced, "plain")) return &stillsplat_plain;
  if (forced && !strcmp(forced, "avx2") && avx2) return &stillsplat_avx2;
  if (avx512 && !(forced && !strcmp(forced, "avx2"))) return &stillsplat_avx512;
  if (avx2) return &stillsplat_avx2;
#endif
  (void)forced;
  return &stillsplat_plain;
}

const Kernels* kernels = best();

int64_t tile_count(const Scene& s) {
  return (int64_t)((s.width + TILE_W - 1) / TILE_W) * ((s.height + TILE_H - 1) / TILE_H);
}

// Stable radix sort of (key, index) pairs by 11-bit digits; equal keys keep the order of their indices, so the
// result is the same for any number of threads.
void sort_by_depth(Frame& f) {
  const int64_t n = f.visible;
  const int digit = 11, buckets = 1 << digit;
  uint32_t *keys = f.keys.data(), *next_keys = f.keys_next.reserve(n);
  uint32_t *order = f.order.data(), *next_order = f.order_next.reserve(n);
  uint32_t low = ~0u, high = 0;
  for (int64_t i = 0; i < n; i++) {
    low = keys[i] < low ? keys[i] : low;
    high = keys[i] > high ? keys[i] : high;
  }
  const int64_t blocks = n < 8192 ? 1 : thread_count(), per = (n + blocks - 1) / blocks;
  uint32_t* histogram = f.histogram.reserve(blocks * buckets);
  for (int shift = 0; shift < 32 && (shift == 0 || ((high - low) >> shift) != 0); shift += digit) {
    parallel_for(blocks, [&](int64_t b) {
      uint32_t* count = histogram + b * buckets;
      memset(count, 0, buckets * sizeof(uint32_t));
      for (int64_t i = b * per; i < n && i < (b + 1) * per; i++) count[((keys[i] - low) >> shift) & (buckets - 1)]++;
    });
    uint32_t total = 0;
    for (int d = 0; d < buckets; d++)
      for (int64_t b = 0; b < blocks; b++) {
        uint32_t c = histogram[b * buckets + d];
        histogram[b * buckets + d] = total;
        total += c;
      }
    parallel_for(blocks, [&](int64_t b) {
      uint32_t* place = histogram + b * buckets;
      for (int64_t i = b * per; i < n && i < (b + 1) * per; i++) {
        uint32_t at = place[((keys[i] - low) >> shift) & (buckets - 1)]++;
        next_keys[at] = keys[i];
        next_order[at] = order[i];
      }
    });
    uint32_t* swap = keys; keys = next_keys; next_keys = swap;
    swap = order; order = next_order; next_order = swap;
  }
  if (order != f.order.data()) memcpy(f.order.data(), order, (size_t)n * sizeof(uint32_t));
}

void bin(Frame& f, const Scene& s) {
  const int64_t n = s.count, chunks = (n + CHUNK - 1) / CHUNK, tiles = tile_count(s);
  Splat* splats = f.splats.data();
  double start = now();
  // room for the pairs of each Gaussian, from the bound that projection left
  int64_t* chunk_pairs = f.chunk_pairs.reserve(chunks + 1);
  int64_t* chunk_visible = f.chunk_visible.reserve(chunks + 1);
  parallel_for(chunks, [&](int64_t c) {
    int64_t pairs = 0, visible = 0;
    for (int64_t i = c * CHUNK; i < n && i < (c + 1) * CHUNK; i++) {
      pairs += splats[i].pair_count;
      visible += splats[i].pair_count > 0;
    }
    chunk_pairs[c] = pairs;
    chunk_visible[c] = visible;
  });
  int64_t pairs = 0, visible = 0;
  for (int64_t c = 0; c < chunks; c++) {
    int64_t p = chunk_pairs[c], v = chunk_visible[c];
    chunk_pairs[c] = pairs;
    chunk_visible[c] = visible;
    pairs += p;
    visible += v;
  }
  f.visible = visible;
  f.pair_capacity = pairs;
  if (pairs > 0x7fffffff) throw std::bad_alloc();
  Pair* pair = f.pairs.reserve(pairs);
  uint32_t* keys = f.keys.reserve(visible);
  uint32_t* order = f.order.reserve(visible);
  parallel_for(chunks, [&](int64_t c) {
    int64_t at = chunk_pairs[c], seen = chunk_visible[c];
    for (int64_t i = c * CHUNK; i < n && i < (c + 1) * CHUNK; i++) {
      if (splats[i].pair_count == 0) continue;
      int64_t room = splats[i].pair_count;
      splats[i].pair_start = (int32_t)at;
      kernels->cover(&s, &splats[i], pair + at);
      memcpy(&keys[seen], &splats[i].z, 4);  // positive floats sort like their bits
      order[seen++] = (uint32_t)i;
      at += room;
    }
  });
  f.seconds[COVER] = now() - start;
  start = now();
  sort_by_depth(f);
  f.seconds[SORT] = now() - start;
  start = now();
  // stable counting scatter: blocks of the depth order, in order, into the lists of the tiles
  const int64_t blocks = visible < 8192 ? 1 : thread_count(), per = (visible + blocks - 1) / blocks;
  int64_t* counts = f.tile_counts.reserve(blocks * tiles);
  int64_t* tile_start = f.tile_start.reserve(tiles + 1);
  parallel_for(blocks, [&](int64_t b) {
    int64_t* count = counts + b * tiles;
    memset(count, 0, (size_t)tiles * sizeof(int64_t));
    for (int64_t k = b * per; k < visible && k < (b + 1) * per; k++) {
      if (k + 8 < visible) __builtin_prefetch(&splats[order[k + 8]].pair_start);
      const Splat& p = splats[order[k]];
      for (int32_t j = 0; j < p.pair_count; j++) count[pair[p.pair_start + j].tile]++;
    }
  });
  int64_t total = 0;
  for (int64_t t = 0; t < tiles; t++) {
    tile_start[t] = total;
    for (int64_t b = 0; b < blocks; b++) {
      int64_t c = counts[b * tiles + t];
      counts[b * tiles + t] = total;
      total += c;
    }
  }
  tile_start[tiles] = total;
  f.entry_count = total;
  TileEntry* entries = f.entries.reserve(total);
  parallel_for(blocks, [&](int64_t b) {
    int64_t* place = counts + b * tiles;
    for (int64_t k = b * per; k < visible && k < (b + 1) * per; k++) {
      if (k + 8 < visible) __builtin_prefetch(&splats[order[k + 8]].pair_start);
      const Splat& p = splats[order[k]];
      for (int32_t j = 0; j < p.pair_count; j++) {
        const Pair& q = pair[p.pair_start + j];
        entries[place[q.tile]++] = {order[k], q.blocks, (uint32_t)(p.pair_start + j)};
      }
    }
  });
  f.seconds[BIN] = now() - start;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT const char* stillsplat_simd() { return kernels->name; }

// 1 if the path exists on this machine, else 0 and nothing changes.
EXPORT int stillsplat_set_simd(const char* name) {
  setenv("STILLSPLAT_SIMD", name, 1);
  const Kernels* found = best();
  if (strcmp(name, "auto") && strcmp(found->name + 11, name)) return 0;
  kernels = found;
  return 1;
}

EXPORT int stillsplat_thread_count() { return thread_count(); }
EXPORT void stillsplat_set_thread_count(int count) { stillsplat::set_thread_count(count); }

EXPORT void* stillsplat_frame_new() { return new (std::nothrow) Frame; }
EXPORT void stillsplat_frame_free(void* frame) { delete (Frame*)frame; }

EXPORT void stillsplat_frame_statistics(const void* frame, double* out) {
  const Frame& f = *(const Frame*)frame;
  for (int k = 0; k < STAGES; k++) out[k] = f.seconds[k];
  out[STAGES] = (double)f.visible;
  out[STAGES + 1] = (double)f.entry_count;
  out[STAGES + 2] = (double)(f.splats.bytes() + f.pairs.bytes() + f.slots.bytes() + f.slot_used.bytes() +
                             f.entries.bytes() + 4 * f.keys.bytes() + f.histogram.bytes() + f.tile_counts.bytes());
}

// 0, or 1 when memory is short.
EXPORT int stillsplat_forward(void* frame, const Scene* scene, const Outputs* out) try {
  Frame& f = *(Frame*)frame;
  const Scene& s = *scene;
  double start = now();
  Splat* splats = f.splats.reserve(s.count);
  parallel_for((s.count + CHUNK - 1) / CHUNK, [&](int64_t c) {
    int64_t begin = c * CHUNK, end = begin + CHUNK < s.count ? begin + CHUNK : s.count;
    kernels->project(&s, begin, end, splats, out->radii);
  });
  f.seconds[PROJECT] = now() - start;
  bin(f, s);
  start = now();
  const TileEntry* entries = f.entries.data();
  const int64_t* tile_start = f.tile_start.data();
  parallel_for(tile_count(s), [&](int64_t t) {
    kernels->forward_tile(&s, (int)t, splats, entries + tile_start[t], tile_start[t + 1] - tile_start[t], out);
  });
  f.seconds[FORWARD] = now() - start;
  return 0;
} catch (const std::exception&) {
  return 1;
}

// After `forward` on the same frame with the same scene and outputs.
EXPORT int stillsplat_backward(void* frame, const Scene* scene, const Outputs* out, const Gradients* gradients) try {
  Frame& f = *(Frame*)frame;
  const Scene& s = *scene;
  double start = now();
  Splat* splats = f.splats.data();
  Slot* slots = f.slots.reserve(f.pair_capacity);
  uint8_t* used = f.slot_used.reserve(f.pair_capacity);
  memset(used, 0, (size_t)f.pair_capacity);
  const TileEntry* entries = f.entries.data();
  const int64_t* tile_start = f.tile_start.data();
  parallel_for(tile_count(s), [&](int64_t t) {
    kernels->backward_tile(&s, (int)t, splats, entries + tile_start[t], tile_start[t + 1] - tile_start[t], out,
                           gradients, slots, used);
  });
  f.seconds[BACKWARD_TILES] = now() - start;
  start = now();
  const int64_t chunks = (s.count + CHUNK - 1) / CHUNK;
  double* sums = f.camera_sums.reserve(chunks * CAMERA_SUMS);
  parallel_for(chunks, [&](int64_t c) {
    int64_t begin = c * CHUNK, end = begin + CHUNK < s.count ? begin + CHUNK : s.count;
    kernels->backward_gaussians(&s, begin, end, splats, slots, used, gradients, sums + c * CAMERA_SUMS);
  });
  if (s.flags & FLAG_CAMERA_GRADIENT) {
    double total[CAMERA_SUMS] = {0};
    for (int64_t c = 0; c < chunks; c++)
      for (int k = 0; k < CAMERA_SUMS; k++) total[k] += sums[c * CAMERA_SUMS + k];
    if (s.flags & FLAG_CENTER_FROM_POSE)  // center = -R^T t
      for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
          total[9 + i] -= s.rotation[3 * i + j] * total[16 + j];
          total[3 * i + j] -= (double)s.translation[i] * total[16 + j];
        }
    for (int i = 0; i < 3; i++) {
      for (int j = 0; j < 3; j++) gradients->camera[4 * i + j] = total[3 * i + j];
      gradients->camera[4 * i + 3] = total[9 + i];
    }
    for (int k = 0; k < 4; k++) gradients->camera[12 + k] = total[12 + k];
  }
  f.seconds[BACKWARD_GAUSSIANS] = now() - start;
  return 0;
} catch (const std::exception&) {
  return 1;
}

// sums[0] = sum of l1_weight * mean |x - y|, sums[1] = sum of ssim_weight * mean (1 - SSIM).
EXPORT int stillsplat_loss(const Loss* loss, double* sums) try {
  const int64_t height = loss->height;
  int64_t rows = (height + 2 * thread_count() - 1) / (2 * thread_count());
  rows = rows < 16 ? 16 : rows > 96 ? 96 : rows;
  // one row of sums after the other and one order to add them: the bands do not matter
  static thread_local Buffer<double> kept;
  double* row_sums = kept.reserve(2 * height);
  parallel_for((height + rows - 1) / rows, [&](int64_t band) {
    static thread_local Buffer<float> scratch;
    int64_t begin = band * rows, end = begin + rows < height ? begin + rows : height;
    float* room = scratch.reserve(kernels->loss_scratch_floats(loss->width, end - begin));
    kernels->loss_rows(loss, begin, end, room, row_sums);
  });
  sums[0] = sums[1] = 0.0;
  for (int64_t row = 0; row < height; row++)
    for (int k = 0; k < 2; k++) sums[k] += row_sums[2 * row + k];
  return 0;
} catch (const std::exception&) {
  return 1;
}

EXPORT void stillsplat_adam(const AdamGroup* groups, int64_t count) {
  const int64_t piece = 1 << 14;
  int64_t pieces = 0;
  for (int64_t k = 0; k < count; k++) pieces += (groups[k].elements + piece - 1) / piece;
  parallel_for(pieces, [&](int64_t item) {
    for (int64_t k = 0; k < count; k++) {
      int64_t own = (groups[k].elements + piece - 1) / piece;
      if (item < own) {
        int64_t end = (item + 1) * piece;
        kernels->adam(&groups[k], item * piece, end < groups[k].elements ? end : groups[k].elements);
        return;
      }
      item -= own;
    }
  });
}
