// Splits long rows of A into pieces, so that several threads share one.

#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <vector>

#include "cpu/core/csr.h"
#include "cpu/spmm/tuning.h"

namespace sg {

// Writes row i of the product: the sums of its pieces, added in order. The length of the row alone determines where a
// piece begins, so the result does not depend on how many threads compute the pieces.
template <class T, class Multiply>
void multiply_long_row(const Csr& csr, int64_t i, int64_t channels, T* row, bool share, const Multiply& multiply) {
  const int64_t first = csr.indptr[i], entries = csr.indptr[i + 1] - first;
  const int64_t pieces = std::min(kMostPieces, entries / kPieceEntries);
  std::vector<T> sums(static_cast<size_t>(pieces * channels));
  const auto piece = [&](int64_t k) {
    const int64_t ends[2] = {first + entries * k / pieces, first + entries * (k + 1) / pieces};
    multiply(Csr{ends, csr.indices, 1, csr.columns, csr.entries}, sums.data() + k * channels, 0, 1);
  };
  if (share) {
    for_each_task(pieces, piece);
  } else {
    for (int64_t k = 0; k < pieces; ++k) piece(k);
  }
  std::copy_n(sums.data(), channels, row);
  for (int64_t k = 1; k < pieces; ++k) {
    for (int64_t c = 0; c < channels; ++c) row[c] += sums[k * channels + c];
  }
}

// Calls multiply(csr, y, begin, end), which writes these rows of y, on parts of the rows as for_each_rows does, and on
// each piece of a long row as a matrix of one row. A row of more than a quarter of a thread's share of the work is left
// for the end, where all threads share it.
template <class T, class Multiply>
void multiply_rows(const char* op, const Csr& csr, int64_t channels, T* y, int64_t least_work, bool check,
                   const Multiply& multiply) {
  const int64_t shared_entries = (csr.entries + csr.rows) / (4 * thread_count());
  std::mutex mutex;
  std::vector<int64_t> waiting;
  for_each_rows(op, csr, least_work, check, [&](int64_t begin, int64_t end) {
    int64_t next = begin;
    const auto rows_before = [&](int64_t i) {
      if (next < i) multiply(csr, y, next, i);
      next = i + 1;
    };
    if (csr.indptr[end] - csr.indptr[begin] > kLongRow) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t entries = csr.indptr[i + 1] - csr.indptr[i];
        if (entries <= kLongRow) continue;
        rows_before(i);
        if (entries <= shared_entries) {
          multiply_long_row(csr, i, channels, y + i * channels, false, multiply);
        } else {
          const std::lock_guard<std::mutex> guard(mutex);
          waiting.push_back(i);
        }
      }
    }
    rows_before(end);
  });
  for (const int64_t i : waiting) multiply_long_row(csr, i, channels, y + i * channels, true, multiply);
}

}  // namespace sg
