// The C interface of the library: the workspace of a rendering, binning and sorting of the splats, the order of the stages.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <chrono>
#include <functional>
#include <new>
#include <utility>

#include "kernels.h"
#include "memory.h"
#include "threads.h"

using stillsplat::parallel_for;
using stillsplat::thread_count;

namespace {

// Memory that grows and never shrinks. Growing discards the contents.
template <class T>
class Buffer {
 public:
  ~Buffer() { free(data_); }
  T* reserve(int64_t count) {
    if (count > capacity_) {
      free(data_);
      data_ = nullptr;
      capacity_ = 0;
      int64_t new_capacity = count + count / 4 + 64;
      data_ = (T*)stillsplat::allocate((size_t)new_capacity * sizeof(T));
      if (!data_) throw std::bad_alloc();
      capacity_ = new_capacity;
    }
    return data_;
  }
  T* data() const { return data_; }
  int64_t bytes() const { return capacity_ * (int64_t)sizeof(T); }

 private:
  T* data_ = nullptr;
  int64_t capacity_ = 0;
};

enum { MOST_DIGIT_BITS = 11 };

enum Stage { PROJECT, BIN, SORT, FORWARD, BACKWARD_TILES, BACKWARD_GAUSSIANS, STAGES };

// The Gaussians are divided into at most PARTS_LIMIT parts of whole chunks; each part has its own list of pairs.
enum { PARTS_LIMIT = 64, PART_LEAST = 2 * CHUNK };

// The workspace of one rendering and its backward pass.
struct Frame {
  Buffer<Splat> splats;
  Buffer<Slot> slots;
  Buffer<TileEntry> entries;
  Buffer<int64_t> tile_start, tile_counts;
  Buffer<double> camera_sums;
  Buffer<float> saved_alphas;
  Buffer<uint8_t> saved_lists;
  Buffer<int64_t> visits;  // by tile: how many (splat, 4x4 block) combinations are composited
  Buffer<Saved> saved;     // by tile
  PairList lists[PARTS_LIMIT] = {};
  int64_t first_pair[PARTS_LIMIT + 1] = {};
  const Kernels* kernels = nullptr;  // of the forward pass; their instruction set determines the order of the saved numbers
  int64_t parts = 0, part_size = 0, visible = 0;
  bool entries_sorted = false;  // the entries of each tile are sorted by depth, as the backward pass needs them
  double seconds[STAGES] = {0};
  ~Frame() {
    for (PairList& list : lists) free(list.tile);
  }
  int64_t pair_count() const { return first_pair[parts]; }
};

void grow_list(PairList* list, int64_t capacity) {
  capacity = (capacity + capacity / 4 + 1024) / 16 * 16;
  uint32_t* memory = (uint32_t*)stillsplat::allocate(4 * (size_t)capacity * sizeof(uint32_t));
  if (!memory) throw std::bad_alloc();
  uint32_t** const arrays[4] = {&list->tile, &list->depth, &list->splat, &list->blocks};
  uint32_t* const old = list->tile;
  for (int k = 0; k < 4; k++) {
    if (old) memcpy(memory + k * capacity, *arrays[k], (size_t)list->count * sizeof(uint32_t));
    *arrays[k] = memory + k * capacity;
  }
  free(old);
  list->capacity = capacity;
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The kernels for the best instruction set of this machine, or for the one that STILLSPLAT_SIMD names, if it is available.
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
#elif defined(__aarch64__)
  if (!(forced && !strcmp(forced, "plain"))) return &stillsplat_neon;
#endif
  (void)forced;
  return &stillsplat_plain;
}

const Kernels* kernels = best();

int64_t tile_count(const Scene& s) {
  return (int64_t)((s.width + TILE_W - 1) / TILE_W) * ((s.height + TILE_H - 1) / TILE_H);
}

// Projects all Gaussians and lists their (splat, tile) pairs, in parts; also counts the pairs of each tile.
void project_parts(Frame& f, const Scene& s, const Outputs& out) {
  const int64_t n = s.count, tiles = tile_count(s);
  int64_t parts = (n + PART_LEAST - 1) / PART_LEAST;
  parts = parts < 1 ? 1 : parts > PARTS_LIMIT ? PARTS_LIMIT : parts;
  f.part_size = ((n + parts - 1) / parts + CHUNK - 1) / CHUNK * CHUNK;
  if (f.part_size == 0) f.part_size = CHUNK;
  f.parts = n ? (n + f.part_size - 1) / f.part_size : 0;
  Splat* splats = f.splats.reserve(n);
  int64_t* counts = f.tile_counts.reserve(f.parts * tiles);
  parallel_for(f.parts, [&](int64_t p) {
    PairList& list = f.lists[p];
    list.count = list.visible = 0;
    list.grow = grow_list;
    const int64_t begin = p * f.part_size, end = begin + f.part_size < n ? begin + f.part_size : n;
    kernels->project(&s, begin, end, splats, out.radii, &list);
    int64_t* count = counts + p * tiles;
    memset(count, 0, (size_t)tiles * sizeof(int64_t));
    for (int64_t k = 0; k < list.count; k++) count[list.tile[k]]++;
  });
  f.visible = 0;
  f.first_pair[0] = 0;
  for (int64_t p = 0; p < f.parts; p++) {
    f.visible += f.lists[p].visible;
    f.first_pair[p + 1] = f.first_pair[p] + f.lists[p].count;
  }
  if (f.pair_count() > 0x7fffffffLL) throw std::bad_alloc();
}

// Distributes the pairs to their tiles by counting sort, keeping the order of the Gaussians.
void bin(Frame& f, const Scene& s) {
  const int64_t tiles = tile_count(s);
  int64_t *counts = f.tile_counts.data(), *tile_start = f.tile_start.reserve(tiles + 1), total = 0;
  // counts[part][tile] becomes the position of the part's first pair within the tile
  memset(tile_start, 0, (size_t)(tiles + 1) * sizeof(int64_t));
  for (int64_t p = 0; p < f.parts; p++)
    for (int64_t t = 0; t < tiles; t++) {
      const int64_t count = counts[p * tiles + t];
      counts[p * tiles + t] = tile_start[t];
      tile_start[t] += count;
    }
  for (int64_t t = 0; t <= tiles; t++) {
    const int64_t count = tile_start[t];
    tile_start[t] = total;
    total += count;
  }
  TileEntry* entries = f.entries.reserve(total);
  parallel_for(f.parts, [&](int64_t p) {
    int64_t* place = counts + p * tiles;
    for (int64_t t = 0; t < tiles; t++) place[t] += tile_start[t];
    const PairList& list = f.lists[p];
    const uint32_t first = (uint32_t)f.first_pair[p];
    for (int64_t k = 0; k < list.count; k++)
      entries[place[list.tile[k]]++] = {list.depth[k], list.splat[k], list.blocks[k], first + (uint32_t)k};
  });
}

// Radix sort by DIGITS digits of `digit` bits each of the depths above `low`. keys: scratch of 2 * count numbers.
template <int DIGITS>
void sort_by_digits(const TileEntry* entries, int64_t count, uint32_t low, int digit, uint64_t* keys, TileEntry* sorted,
                    const Splat* to_prefetch) {
  uint32_t place[DIGITS][1 << MOST_DIGIT_BITS];
  const uint32_t buckets = 1u << digit;
  for (int d = 0; d < DIGITS; d++) memset(place[d], 0, buckets * sizeof(uint32_t));
  for (int64_t k = 0; k < count; k++) {
    const uint32_t depth = entries[k].depth - low;
    keys[k] = (uint64_t)depth << 32 | (uint64_t)k;
    if (to_prefetch) __builtin_prefetch(&to_prefetch[entries[k].splat], 0, 2);
    for (int d = 0; d < DIGITS; d++) place[d][(depth >> d * digit) & (buckets - 1)]++;
  }
  for (int d = 0; d < DIGITS; d++) {
    uint32_t total = 0;
    for (uint32_t bucket = 0; bucket < buckets; bucket++) {
      const uint32_t own = place[d][bucket];
      place[d][bucket] = total;
      total += own;
    }
  }
  uint64_t* next = keys + count;
  for (int d = 0; d < DIGITS - 1; d++) {
    const int shift = 32 + d * digit;
    for (int64_t k = 0; k < count; k++) next[place[d][(keys[k] >> shift) & (buckets - 1)]++] = keys[k];
    std::swap(keys, next);
  }
  const int shift = 32 + (DIGITS - 1) * digit;
  for (int64_t k = 0; k < count; k++)
    sorted[place[DIGITS - 1][(keys[k] >> shift) & (buckets - 1)]++] = entries[(uint32_t)keys[k]];
}

// Sorts the entries of one tile by depth, stably: equal depths keep the order of the Gaussians, so that the result does not
// depend on how Gaussians are divided into parts. Radix sort with as few digits as possible, of at most 9 bits, or 11 bits
// for long lists. Returns the sorted entries: `entries` itself, or memory of this thread that its next sort overwrites. The
// splats of `to_prefetch` that the entries refer to are prefetched into the L2 cache meanwhile.
const TileEntry* sort_tile(TileEntry* entries, int64_t count, const Splat* to_prefetch) {
  uint32_t low = ~0u, high = 0;
  for (int64_t k = 0; k < count; k++) {
    low = entries[k].depth < low ? entries[k].depth : low;
    high = entries[k].depth > high ? entries[k].depth : high;
  }
  if (count <= 24) {
    for (int64_t k = 1; k < count; k++) {
      const TileEntry entry = entries[k];
      int64_t j = k;
      for (; j > 0 && entries[j - 1].depth > entry.depth; j--) entries[j] = entries[j - 1];
      entries[j] = entry;
    }
    return entries;
  }
  static thread_local Buffer<uint64_t> key_buffer;  // depth above the lowest one, and position
  static thread_local Buffer<TileEntry> entry_buffer;
  uint64_t* keys = key_buffer.reserve(2 * count);
  TileEntry* sorted = entry_buffer.reserve(count);
  const int bits = high == low ? 0 : 32 - __builtin_clz(high - low), most = count < 4096 ? 9 : MOST_DIGIT_BITS;
  const int digits = (bits + most - 1) / most;
  const auto sort = digits <= 1 ? sort_by_digits<1> : digits == 2 ? sort_by_digits<2> : digits == 3 ? sort_by_digits<3>
                                                                                                   : sort_by_digits<4>;
  sort(entries, count, low, digits ? (bits + digits - 1) / digits : 1, keys, sorted, to_prefetch);
  return sorted;
}

// Most bytes that a forward pass saves for its backward pass. Tiles beyond the limit compute their alphas again.
int64_t saved_limit = (int64_t)512 << 20;

// Divides the memory for saved alphas and lists among the tiles, as far as it reaches.

void allocate_saved(Frame& f, const Scene& s) {
  const int64_t tiles = tile_count(s), *tile_start = f.tile_start.data();
  Saved* saved = f.saved.reserve(tiles);
  memset(saved, 0, (size_t)tiles * sizeof(Saved));
  if (!(s.flags & FLAG_SAVE_STATES)) return;
  const int64_t* visits = f.visits.data();
  int64_t alphas = 0, lists = 0, end = 0;
  for (; end < tiles; end++) {
    const int64_t splats = tile_start[end + 1] - tile_start[end];
    const int64_t more_alphas = alpha_floats_to_save(splats, visits[end]), more_lists = list_bytes_to_save(splats, visits[end]);
    if ((alphas + more_alphas) * (int64_t)sizeof(float) + lists + more_lists > saved_limit) break;
    alphas += more_alphas;
    lists += more_lists;
  }
  float* next_alphas;
  uint8_t* next_lists;
  try {
    next_alphas = f.saved_alphas.reserve(alphas);
    next_lists = f.saved_lists.reserve(lists);
  } catch (const std::bad_alloc&) {
    return;
  }
  for (int64_t t = 0; t < end; t++) {
    const int64_t splats = tile_start[t + 1] - tile_start[t];
    saved[t] = {next_alphas, next_lists};
    next_alphas += alpha_floats_to_save(splats, visits[t]);
    next_lists += list_bytes_to_save(splats, visits[t]);
  }
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT const char* stillsplat_simd() { return kernels->name; }

// Selects an instruction set ("auto": the best one). Returns 0 and changes nothing if this machine or build lacks it.
EXPORT int stillsplat_set_simd(const char* name) {
  setenv("STILLSPLAT_SIMD", name, 1);
  const Kernels* found = best();
  if (strcmp(name, "auto") && strcmp(found->name + 11, name)) return 0;
  kernels = found;
  return 1;
}

EXPORT int stillsplat_thread_count() { return thread_count(); }
EXPORT void stillsplat_set_thread_count(int count) { stillsplat::set_thread_count(count); }

// Requests large pages for memory from the system; has no effect on systems without them.
EXPORT void stillsplat_prefer_large_pages(void* memory, int64_t bytes) {
  stillsplat::prefer_large_pages(memory, (size_t)bytes);
}

// Sets how many bytes a forward pass may save for its backward pass.
EXPORT void stillsplat_set_saved_limit(int64_t bytes) { saved_limit = bytes; }

EXPORT void* stillsplat_frame_new() { return new (std::nothrow) Frame; }
EXPORT void stillsplat_frame_free(void* frame) { delete (Frame*)frame; }

// Seconds of each stage, then visible Gaussians, (splat, tile) pairs and bytes of the workspace.
EXPORT void stillsplat_frame_statistics(const void* frame, double* out) {
  const Frame& f = *(const Frame*)frame;
  for (int k = 0; k < STAGES; k++) out[k] = f.seconds[k];
  out[STAGES] = (double)f.visible;
  out[STAGES + 1] = (double)f.pair_count();
  int64_t bytes = f.splats.bytes() + f.slots.bytes() + f.entries.bytes() + f.tile_counts.bytes();
  for (const PairList& list : f.lists) bytes += 4 * list.capacity * (int64_t)sizeof(uint32_t);
  bytes += f.saved_alphas.bytes() + f.saved_lists.bytes();
  out[STAGES + 2] = (double)bytes;
}

// How many visits (a splat composited over a 4x4 block) the lists of the last forward pass hold; for benchmarks.
EXPORT int64_t stillsplat_frame_visits(const void* frame) {
  const Frame& f = *(const Frame*)frame;
  return kernels->count_visits(f.entries.data(), f.pair_count());
}

// Renders. Returns 0, or 1 if there is not enough memory.
EXPORT int stillsplat_forward(void* frame, const Scene* scene, const Outputs* out) try {
  Frame& f = *(Frame*)frame;
  const Scene& s = *scene;
  f.kernels = kernels;
  double start = now();
  project_parts(f, s, *out);
  f.seconds[PROJECT] = now() - start;
  start = now();
  bin(f, s);
  f.seconds[BIN] = now() - start;
  start = now();
  const Splat* splats = f.splats.data();
  TileEntry* entries = f.entries.data();
  const int64_t* tile_start = f.tile_start.data();
  const bool save = s.flags & FLAG_SAVE_STATES;
  f.entries_sorted = save;
  if (save) {
    int64_t* visits = f.visits.reserve(tile_count(s));
    parallel_for(tile_count(s), [&](int64_t t) {
      TileEntry* own = entries + tile_start[t];
      const int64_t count = tile_start[t + 1] - tile_start[t];
      const TileEntry* sorted = sort_tile(own, count, nullptr);
      if (sorted != own) memcpy(own, sorted, (size_t)count * sizeof(TileEntry));
      visits[t] = kernels->count_visits(own, count);
    });
  }
  allocate_saved(f, s);
  const Saved* saved = f.saved.data();
  f.seconds[SORT] = now() - start;
  start = now();
  parallel_for(tile_count(s), [&](int64_t t) {
    TileEntry* own = entries + tile_start[t];
    const int64_t count = tile_start[t + 1] - tile_start[t];
    kernels->forward_tile(&s, (int)t, splats, save ? own : sort_tile(own, count, splats), count, out, saved[t]);
  });
  f.seconds[FORWARD] = now() - start;
  return 0;
} catch (const std::exception&) {
  return 1;
}

// The backward pass of the last stillsplat_forward on this frame, which must have had FLAG_SAVE_STATES; scene and outputs
// are those of that call. Returns 0, or 1 if there is not enough memory or no such forward pass.
EXPORT int stillsplat_backward(void* frame, const Scene* scene, const Outputs* out, const Gradients* gradients) try {
  Frame& f = *(Frame*)frame;
  const Scene& s = *scene;
  if (!f.entries_sorted) return 1;
  double start = now();
  Splat* splats = f.splats.data();
  Slot* slots = f.slots.reserve(f.pair_count());
  const TileEntry* entries = f.entries.data();
  const int64_t* tile_start = f.tile_start.data();
  const Saved* saved = f.saved.data();
  parallel_for(tile_count(s), [&](int64_t t) {
    f.kernels->backward_tile(&s, (int)t, splats, entries + tile_start[t], tile_start[t + 1] - tile_start[t], out,
                             gradients, saved[t], slots);
  });
  f.seconds[BACKWARD_TILES] = now() - start;
  start = now();
  const int64_t chunks = (s.count + CHUNK - 1) / CHUNK;
  double* sums = f.camera_sums.reserve(chunks * CAMERA_SUMS);
  parallel_for(chunks, [&](int64_t c) {
    int64_t begin = c * CHUNK, end = begin + CHUNK < s.count ? begin + CHUNK : s.count;
    kernels->backward_gaussians(&s, begin, end, splats, slots + f.first_pair[begin / f.part_size], gradients,
                                sums + c * CAMERA_SUMS);
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

// Copies `count` Gaussians of `terms` x `components` numbers, at most 48, from one layout to another.
EXPORT void stillsplat_copy(const Strided* from, const Strided* to, int64_t count, int terms, int components) {
  parallel_for((count + CHUNK - 1) / CHUNK, [&](int64_t c) {
    const int64_t begin = c * CHUNK, end = begin + CHUNK < count ? begin + CHUNK : count;
    kernels->copy(from, to, begin, end, terms, components);
  });
}

// Photometric loss and its gradient: sums[0] = sum over pixels of l1_weight * mean over channels of |x - y|, sums[1] = sum
// of ssim_weight * mean of (1 - SSIM). Returns 0, or 1 if there is not enough memory.
EXPORT int stillsplat_loss(const Loss* loss, double* sums) try {
  const int64_t height = loss->height;
  int64_t rows = (height + 2 * thread_count() - 1) / (2 * thread_count());
  rows = rows < 16 ? 16 : rows > MOST_LOSS_ROWS ? (int64_t)MOST_LOSS_ROWS : rows;
  // a sum for each row, added in a fixed order, so that the result does not depend on the bands
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

// One step of Adam for all groups.
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
