// A scheduler of tasks on pairs of groups; no group is in two concurrent tasks.

#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

namespace sg {

class PairQueue {
 public:
  using Pair = std::pair<int32_t, int32_t>;

  PairQueue(std::vector<Pair> pairs, int64_t groups) : pairs_(std::move(pairs)), busy_(static_cast<size_t>(groups), 0) {
    next_.resize(pairs_.size() + 1);
    for (size_t i = 0; i <= pairs_.size(); ++i) next_[i] = i;  // next_[i]: the pair after pair i - 1
  }

  // Runs task(first, second) until no pair is left. Any number of threads may call it.
  template <class Task>
  void work(const Task& task) {
    Pair pair;
    while (take(pair)) {
      const Release release{*this, pair};
      task(pair.first, pair.second);
    }
  }

 private:
  struct Release {
    PairQueue& queue;
    Pair pair;
    ~Release() {
      {
        const std::lock_guard<std::mutex> lock(queue.mutex_);
        queue.busy_[pair.first] = queue.busy_[pair.second] = 0;
      }
      queue.freed_.notify_all();
    }
  };

  // Takes the first pair whose groups are both free, and waits while there is none. This cannot deadlock: a group is
  // busy only while another thread runs a task on it.
  bool take(Pair& pair) {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      if (next_[0] == pairs_.size()) return false;
      for (size_t before = 0; next_[before] < pairs_.size(); before = next_[before] + 1) {
        const size_t found = next_[before];
        pair = pairs_[found];
        if (busy_[pair.first] || busy_[pair.second]) continue;
        busy_[pair.first] = busy_[pair.second] = 1;
        next_[before] = next_[found + 1];
        return true;
      }
      freed_.wait(lock);
    }
  }

  std::vector<Pair> pairs_;
  std::vector<size_t> next_;
  std::vector<char> busy_;
  std::mutex mutex_;
  std::condition_variable freed_;
};

}  // namespace sg
