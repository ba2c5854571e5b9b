// A small pool: work items are handed out by a counter, waiting threads sleep. The caller works too.
#pragma once
#include <functional>

namespace stillsplat {

int thread_count();
void set_thread_count(int count);
// Runs task(item) for every item in [0, items). What a task writes must not depend on the thread that runs it.
void parallel_for(int64_t items, const std::function<void(int64_t)>& task);

}  // namespace stillsplat
