#include <stdint.h>
#ifdef __linux__
#include <sched.h>
#endif
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "threads.h"

namespace stillsplat {
namespace {

// How long idle threads poll for work before they sleep. The next stage usually follows within microseconds, and waking a
// sleeping thread takes tens of them, above all in a virtual machine. Other processes lose at most this time.
const auto SPIN_TIME = std::chrono::microseconds(100);

template <class Condition>
void spin_until(const Condition& met) {
  const auto end = std::chrono::steady_clock::now() + SPIN_TIME;
  while (!met() && std::chrono::steady_clock::now() < end)
    for (int i = 0; i < 16 && !met(); i++) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#elif defined(__aarch64__)
      __asm__ volatile("yield");
#endif
    }
}

class Pool {
 public:
  explicit Pool(int count) : owner_(getpid()) {
    for (int i = 1; i < count; i++) workers_.emplace_back([this] { work(); });
  }
  ~Pool() {
    if (getpid() != owner_) {  // the threads do not exist in a forked process
      for (auto& w : workers_) w.detach();
      return;
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (auto& w : workers_) w.join();
  }
  int count() const { return (int)workers_.size() + 1; }
  bool usable() const { return getpid() == owner_; }

  void run(int64_t items, const std::function<void(int64_t)>& task) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      task_ = &task;
      items_ = items;
      next_.store(0, std::memory_order_relaxed);
      failed_.store(false, std::memory_order_relaxed);
      open_ = true;
      round_++;
    }
    wake_.notify_all();
    run_items(task, items);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      open_ = false;  // a thread that wakes up after this takes no items, and nothing waits for it
    }
    spin_until([this] { return active_ == 0; });
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return active_ == 0; });
    task_ = nullptr;
    if (failed_.load(std::memory_order_relaxed)) throw std::bad_alloc();
  }

 private:
  void run_items(const std::function<void(int64_t)>& task, int64_t items) {
    try {
      for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < items;) task(i);
    } catch (const std::exception&) {  // tasks fail only if there is not enough memory; run() then throws
      failed_.store(true, std::memory_order_relaxed);
      next_.store(items, std::memory_order_relaxed);
    }
  }
  void work() {
    uint64_t seen = 0;
    for (;;) {
      spin_until([&] { return round_ != seen || stop_; });
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return stop_ || round_ != seen; });
      if (stop_) return;
      seen = round_;
      if (!open_) continue;
      active_++;
      const auto* task = task_;
      int64_t items = items_;
      lock.unlock();
      run_items(*task, items);
      lock.lock();
      if (--active_ == 0) done_.notify_one();
    }
  }

  const pid_t owner_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(int64_t)>* task_ = nullptr;
  int64_t items_ = 0;
  alignas(64) std::atomic<int64_t> next_{0};
  std::atomic<bool> failed_{false};
  alignas(64) std::atomic<int> active_{0};
  std::atomic<uint64_t> round_{0};
  std::atomic<bool> stop_{false};
  bool open_ = false;
};

std::mutex pool_mutex;
int requested_count = 0;
Pool* pool = nullptr;

int default_count() {
  int count = (int)std::thread::hardware_concurrency();
#ifdef __linux__
  cpu_set_t allowed;  // the cores that this process may use, which may be fewer than the machine has
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) count = CPU_COUNT(&allowed);
#endif
  return std::max(1, std::min(64, count));
}

}  // namespace

int thread_count() { return requested_count ? requested_count : default_count(); }

void set_thread_count(int count) {
  std::lock_guard<std::mutex> lock(pool_mutex);
  requested_count = std::max(1, std::min(64, count));
}

void parallel_for(int64_t items, const std::function<void(int64_t)>& task) {
  if (items <= 0) return;
  // While the pool is busy with the work of another Python thread, this thread does all its work itself.
  std::unique_lock<std::mutex> lock(pool_mutex, std::try_to_lock);
  if (items == 1 || thread_count() == 1 || !lock.owns_lock()) {
    for (int64_t i = 0; i < items; i++) task(i);
    return;
  }
  if (pool && (!pool->usable() || pool->count() != thread_count())) {
    if (pool->usable()) delete pool;  // a pool from before a fork is leaked: its locks may be held forever
    pool = nullptr;
  }
  if (!pool) pool = new Pool(thread_count());
  pool->run(items, task);
}

}  // namespace stillsplat
