// The squared norm of a row of floats, in float64.

#pragma once

#include <cstdint>

namespace sg {

// Eight partial sums, so that the compiler can vectorise without changing the order of additions.
inline double squared_norm(const float* row, int64_t depth) {
  constexpr int64_t kWidth = 8;
  double sum[kWidth] = {};
  int64_t k = 0;
  for (; k + kWidth <= depth; k += kWidth) {
    for (int64_t l = 0; l < kWidth; ++l) sum[l] += static_cast<double>(row[k + l]) * static_cast<double>(row[k + l]);
  }
  double rest = 0;
  for (; k < depth; ++k) rest += static_cast<double>(row[k]) * static_cast<double>(row[k]);
  return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7])) + rest;
}

}  // namespace sg
