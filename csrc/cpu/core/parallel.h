// Dynamic scheduling on torch's thread pool, so that torch.set_num_threads applies here too.

#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "cpu/core/torch_api.h"

namespace sg {

inline int64_t thread_count() { return static_cast<int64_t>(torch::stable::get_num_threads()); }

// Runs work(worker) once on each of `workers` threads. As far as the pool allows, a worker is the same thread in every
// call. Inside another parallel region the workers run one after the other.
template <class Work>
void on_workers(int64_t workers, const Work& work) {
  torch::stable::parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) work(worker);
  });
}

// Runs task(i) for i in [0, tasks). Each thread begins with its range, which is the same in every call with as many
// tasks: data that it wrote in one call and reads in the next is then in the cache of its core. Afterwards it steals
// tasks of other ranges.
template <class Task>
void for_each_task(int64_t tasks, const Task& task) {
  if (tasks <= 0) return;
  struct alignas(64) Range {
    std::atomic<int64_t> next;
    int64_t end;
  };
  const int64_t threads = thread_count(), workers = tasks < threads ? tasks : threads;
  std::vector<Range> ranges(static_cast<size_t>(workers));
  for (int64_t w = 0; w < workers; ++w) {
    ranges[w].next.store(tasks * w / workers, std::memory_order_relaxed);
    ranges[w].end = tasks * (w + 1) / workers;
  }
  on_workers(workers, [&](int64_t worker) {
    for (int64_t k = 0; k < workers; ++k) {
      Range& range = ranges[(worker + k) % workers];
      for (int64_t i = range.next.fetch_add(1, std::memory_order_relaxed); i < range.end;
           i = range.next.fetch_add(1, std::memory_order_relaxed)) {
        task(i);
      }
    }
  });
}

// The number of equal parts of `items`: several for each thread, to balance the load, each of at least `least` items.
inline int64_t part_count(int64_t items, int64_t least, int64_t per_thread = 8) {
  const int64_t most = thread_count() * per_thread;
  const int64_t wanted = items / (least > 0 ? least : 1);
  return wanted < 1 ? 1 : (wanted < most ? wanted : most);
}

}  // namespace sg
