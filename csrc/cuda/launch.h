// Launch sizes: converts 64-bit counts to grids, and throws where a grid exceeds CUDA's limits.

#pragma once

#include <algorithm>
#include <cstdint>
#include <sstream>
#include <stdexcept>

#include "cuda/cuda_api.h"

namespace sg::cuda {

constexpr int64_t kMostGridX = 2147483647;
constexpr int64_t kMostGridY = 65535;
constexpr int kMostThreads = 256;

constexpr int64_t ceil_div(int64_t count, int64_t size) { return count / size + (count % size != 0); }

inline dim3 make_grid(const char* op, int64_t x, int64_t y = 1) {
  if (x < 1 || x > kMostGridX || y < 1 || y > kMostGridY) {
    std::ostringstream text;
    text << "spectral_graph::" << op << ": the work needs a grid of " << x << " x " << y << " blocks, CUDA has at most "
         << kMostGridX << " x " << kMostGridY << "; pass fewer rows or columns at a time";
    throw std::runtime_error(text.str());
  }
  return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y));
}

inline int round_up_to_warps(int threads) { return static_cast<int>(ceil_div(threads, kWarp)) * kWarp; }

// Cuts `count` columns into tiles of equal width, a multiple of `unit` and at most `most`.
inline int tile_width(int64_t count, int64_t most, int64_t unit) {
  const int64_t tiles = std::max<int64_t>(1, ceil_div(count, most));
  return static_cast<int>(ceil_div(std::max<int64_t>(1, ceil_div(count, tiles)), unit) * unit);
}

}  // namespace sg::cuda
