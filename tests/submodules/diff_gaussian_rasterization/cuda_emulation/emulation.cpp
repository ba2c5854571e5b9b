// The kernels compiled as one shared library for the host; see emulation.h.
#include "emulation.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <random>
#include <thread>
#include <vector>

thread_local Dim threadIdx, blockIdx, gridDim;

#include "kernels.cu"

namespace {

const size_t STACK = 96 * 1024;

struct Fiber {
  jmp_buf context;
  bool started, finished;
};

struct Block {
  std::vector<Fiber> fibers;
  std::vector<char> stacks;
  std::vector<Meeting> warps;
  Meeting all;
  jmp_buf scheduler;
  unsigned current;
  bool progress;
  const char* kernel;
  std::function<void()> body;
  std::minstd_rand random;
};

thread_local Block* block = nullptr;

[[noreturn]] void fail(const char* what, int line = 0) {
  fprintf(stderr, "emulated kernel %s, block %u, thread %u, line %d: %s\n", block->kernel, blockIdx.x, threadIdx.x, line, what);
  abort();
}

void yield() {
  if (_setjmp(block->fibers[block->current].context) == 0) _longjmp(block->scheduler, 1);
}

void fiber_main() {
  block->body();
  block->fibers[block->current].finished = true;
  block->progress = true;
  _longjmp(block->scheduler, 1);
}

void start_fiber(unsigned thread) {
  // makecontext is used only to switch to the new stack; later switches need no system calls
  static thread_local ucontext_t context, unused;
  getcontext(&context);
  context.uc_stack.ss_sp = block->stacks.data() + thread * STACK;
  context.uc_stack.ss_size = STACK;
  context.uc_link = nullptr;
  makecontext(&context, fiber_main, 0);
  swapcontext(&unused, &context);
}

void resume(unsigned thread) {
  block->current = thread;
  threadIdx = {thread, 0, 0};
  Fiber& fiber = block->fibers[thread];
  if (_setjmp(block->scheduler)) return;
  if (fiber.started) _longjmp(fiber.context, 1);
  fiber.started = true;
  start_fiber(thread);
}

void run_block() {
  const unsigned threads = (unsigned)block->fibers.size();
  for (Fiber& fiber : block->fibers) fiber.started = fiber.finished = false;
  block->all = {0, 0, threads, 0, {}};
  for (Meeting& warp : block->warps) warp = {0, 0, 32, 0, {}};
  std::vector<unsigned> order(threads);
  for (unsigned t = 0; t < threads; t++) order[t] = t;
  for (size_t left = threads; left > 0;) {
    std::shuffle(order.begin(), order.end(), block->random);
    block->progress = false;
    for (unsigned thread : order)
      if (!block->fibers[thread].finished) resume(thread);
    left = 0;
    for (const Fiber& fiber : block->fibers) left += !fiber.finished;
    if (left && !block->progress) fail("threads wait for others that never arrive");
  }
}

struct Launch {
  const char* name;
  void (*run)(const void* argument);
};

#define KERNEL(name, Argument) {#name, [](const void* argument) { name(*(const Argument*)argument); }}
const Launch LAUNCHES[] = {
    KERNEL(project, Frame), KERNEL(emit_pairs, Frame), KERNEL(sort_pass, SortPass), KERNEL(composite, Frame),
    KERNEL(composite_backward, Frame), KERNEL(composite_backward_with_depth, Frame), KERNEL(gaussian_gradients, Frame),
    KERNEL(gaussian_adam, Frame), KERNEL(photometric_loss, Loss), KERNEL(adam, AdamGroups),
    KERNEL(nearest_neighbors, Neighbors),
};

std::atomic<unsigned> chaos{0};

}  // namespace

const uint64_t* meet(bool whole_block, uint64_t value, int line) {
  Meeting& m = whole_block ? block->all : block->warps[threadIdx.x / 32];
  const unsigned generation = m.generation;
  if (m.arrived && m.line != line) fail("threads meet at different places", line);
  m.line = line;
  m.values[generation % 2][threadIdx.x % 32] = value;
  if (++m.arrived == m.members) {
    m.arrived = 0;
    m.generation++;
    block->progress = true;
  } else {
    while (m.generation == generation) yield();
  }
  // a thread can be at most one barrier ahead of another, so two sets of values are enough
  return m.values[generation % 2];
}

void require_all_lanes(unsigned mask) {
  if (mask != 0xffffffffu) fail("only whole warps are emulated");
}

// A delay between the two words that a block publishes, so that other blocks can see the first one.
void linger(unsigned word) {
  if (word >> 31 && chaos.load())
    for (int k = 0; k < 3000; k++) __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

unsigned load_or_yield(const unsigned* p) {
  const unsigned word = __atomic_load_n(p, __ATOMIC_SEQ_CST);
  if (word == 0) std::this_thread::yield();
  return word;
}

extern "C" int emulate(const char* name, unsigned grid_x, unsigned grid_y, unsigned threads, const void* argument,
                       unsigned seed, unsigned workers) {
  const Launch* launch = nullptr;
  for (const Launch& candidate : LAUNCHES)
    if (!strcmp(candidate.name, name)) launch = &candidate;
  if (!launch || threads % 32 || !threads || !grid_x || !grid_y) return 1;
  chaos = workers > 1;
  std::vector<unsigned> order(grid_x * grid_y);
  for (unsigned b = 0; b < order.size(); b++) order[b] = b;
  std::minstd_rand random(seed);
  std::shuffle(order.begin(), order.end(), random);
  std::atomic<size_t> next{0};
  auto work = [&](unsigned worker) {
    Block own;
    own.fibers.resize(threads);
    own.stacks.resize(threads * STACK);
    own.warps.resize(threads / 32);
    own.kernel = name;
    own.random.seed(seed + 7919 * worker);
    own.body = [&] { launch->run(argument); };
    block = &own;
    gridDim = {grid_x, grid_y, 1};
    for (size_t n; (n = next++) < order.size();) {
      blockIdx = {order[n] % grid_x, order[n] / grid_x, 0};
      run_block();
    }
    block = nullptr;
  };
  std::vector<std::thread> crew;
  for (unsigned worker = 1; worker < std::min<size_t>(workers, order.size()); worker++) crew.emplace_back(work, worker);
  work(0);
  for (std::thread& thread : crew) thread.join();
  return 0;
}

extern "C" size_t size_of(const char* name) {
  if (!strcmp(name, "Frame")) return sizeof(Frame);
  if (!strcmp(name, "View")) return sizeof(View);
  if (!strcmp(name, "SortPass")) return sizeof(SortPass);
  if (!strcmp(name, "Loss")) return sizeof(Loss);
  if (!strcmp(name, "AdamGroups")) return sizeof(AdamGroups);
  if (!strcmp(name, "Neighbors")) return sizeof(Neighbors);
  if (!strcmp(name, "Counters")) return sizeof(Counters);
  return 0;
}
