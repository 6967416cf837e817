// What a sparse product A x cannot do without: it loads every index, every value and one word of every 64 bytes of
// every row of x that the product needs, and stores a result. No products and no sums are made of them.
//
// limits.py compiles it when a benchmark needs it. The work is shared out and the rows of x are prefetched as the
// operators do it, on the threads of torch.

#include <torch/csrc/stable/c/shim.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

namespace {

// Entries between a prefetch and its use: more where the problem exceeds a last-level cache and rows of x are narrow.
constexpr int64_t kAhead = 16, kFarAhead[] = {96, 48};
constexpr int kFarLines[] = {2, 4};
constexpr int64_t kCachedBytes = int64_t{16} << 20;
constexpr int64_t kLine = 16;   // floats
constexpr int64_t kMostChannels = 128;
constexpr int64_t kPartsPerThread = 16;
constexpr int64_t kNearFloats = 1 << 20;  // an x of no more needs no prefetches

using Words = const uint32_t*;  // of float32 numbers

struct Problem {
  const int64_t* indptr;
  const int32_t* indices;
  Words values;
  Words x;
  Words diagonal;  // one word of it for each entry as well, or null
  float* y;
  int64_t rows, columns, channels, parts;
  bool far;
  std::atomic<int64_t> next{0};

  // The rows of x that the entries [first, past) name, of kLines cache lines each; the last line by the last column.
  template <int kLines, bool kFar>
  uint32_t load_x(int64_t first, int64_t past) const {
    uint32_t seen = 0;
    const bool fits = 8 * indptr[rows] + 4 * columns * channels <= kCachedBytes;
    const int64_t ahead = fits || kLines > kFarLines[1] ? kAhead : kFarAhead[kLines > kFarLines[0]];
    for (int64_t p = first; p < past; ++p) {
      if (kFar && p + ahead < indptr[rows]) {
        const Words later = x + indices[p + ahead] * channels;
#pragma GCC unroll 8
        for (int line = 0; line < kLines; ++line) __builtin_prefetch(later + line * kLine);
      }
      const Words row = x + indices[p] * channels;
#pragma GCC unroll 8
      for (int line = 0; line < kLines - 1; ++line) seen ^= row[line * kLine];
      seen ^= row[channels - 1];
    }
    return seen;
  }

  template <int kLines>
  void run(int64_t begin, int64_t end) const {
    uint32_t seen = 0;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = indptr[i], past = indptr[i + 1];
      seen ^= far ? load_x<kLines, true>(first, past) : load_x<kLines, false>(first, past);
      for (int64_t p = first; p < past; ++p) seen ^= values[p];
      for (int64_t p = diagonal == nullptr ? past : first; p < past; ++p) seen ^= diagonal[indices[p]];
      std::memset(y + i * channels, 0, static_cast<size_t>(channels) * sizeof(float));
    }
    asm volatile("" : : "r"(seen));  // else nothing need be loaded
  }

  // The first row of a part; the parts have about equal numbers of entries.
  int64_t cut(int64_t part) const {
    if (part == parts) return rows;
    return std::lower_bound(indptr, indptr + rows, indptr[rows] / parts * part) - indptr;
  }
};

template <int kLines>
void work(int64_t begin, int64_t end, void* context) {
  auto& problem = *static_cast<Problem*>(context);
  for (; begin < end; ++begin) {
    for (int64_t part = problem.next++; part < problem.parts; part = problem.next++) {
      problem.run<kLines>(problem.cut(part), problem.cut(part + 1));
    }
  }
}

}  // namespace

// The greatest number of columns: kMostChannels.
extern "C" void product_limit(const int64_t* indptr, const int32_t* indices, const uint32_t* values,
                              const uint32_t* x, const uint32_t* diagonal, float* y, int64_t rows, int64_t columns,
                              int64_t channels) {
  constexpr ParallelFunc by_lines[kMostChannels / kLine] = {work<1>, work<2>, work<3>, work<4>,
                                                            work<5>, work<6>, work<7>, work<8>};
  uint32_t threads = 1;
  torch_get_num_threads(&threads);
  const bool far = columns * channels > kNearFloats;
  Problem problem{indptr, indices, values, x, diagonal, y, rows, columns, channels, kPartsPerThread * threads, far};
  torch_parallel_for(0, threads, 1, by_lines[(channels - 1) / kLine], &problem);
}
