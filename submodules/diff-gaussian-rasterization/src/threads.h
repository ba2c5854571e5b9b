// A small thread pool. Threads take work items from a counter and sleep when there is no work; the calling thread works too.
#pragma once
#include <functional>

namespace stillsplat {

int thread_count();
void set_thread_count(int count);
// Calls task(item) for every item in [0, items). Results must not depend on which thread runs which item.
void parallel_for(int64_t items, const std::function<void(int64_t)>& task);

}  // namespace stillsplat
