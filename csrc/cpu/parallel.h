// Dynamic work sharing on top of torch's own thread pool, so that torch.set_num_threads rules here too.

#pragma once

#include <atomic>
#include <cstdint>

#include "cpu/torch_api.h"

namespace sg {

inline int64_t thread_count() { return static_cast<int64_t>(torch::stable::get_num_threads()); }

// Runs work() once on each of `workers` threads; inside another parallel region it runs them one after the other.
template <class Work>
void on_workers(int64_t workers, const Work& work) {
  torch::stable::parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) work();
  });
}

// Runs task(i) for i in [0, tasks), each taken by the next free thread.
template <class Task>
void for_each_task(int64_t tasks, const Task& task) {
  if (tasks <= 0) return;
  const int64_t threads = thread_count();
  std::atomic<int64_t> next{0};
  on_workers(tasks < threads ? tasks : threads, [&] {
    for (int64_t i = next.fetch_add(1, std::memory_order_relaxed); i < tasks;
         i = next.fetch_add(1, std::memory_order_relaxed)) {
      task(i);
    }
  });
}

// The number of equal parts that `items` are cut into: several a thread for balance, none below `least` items.
inline int64_t part_count(int64_t items, int64_t least, int64_t per_thread = 8) {
  const int64_t most = thread_count() * per_thread;
  const int64_t wanted = items / (least > 0 ? least : 1);
  return wanted < 1 ? 1 : (wanted < most ? wanted : most);
}

}  // namespace sg
