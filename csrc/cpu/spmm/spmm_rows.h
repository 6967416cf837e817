// Rows of A x for a sparse A in CSR, in float32 and float64; csr_spmm, chebyshev_step_ and rayleigh share them.
//
// Registers hold one row of y while the loop passes over the row's entries. Rows of x lie anywhere in memory, so each
// is prefetched some entries before its use. Every y[i, c] is one chain of additions in the order of the entries; a
// narrow row has a few chains, such as one over the even and one over the odd entries (csr_spmm adds a long row in
// pieces, see long_rows.h). So the result depends neither on the number of threads nor on the parts.

#pragma once

#include <algorithm>
#include <type_traits>

#include "cpu/core/csr.h"
#include "cpu/spmm/spmm_entries.h"
#include "cpu/spmm/spmm_narrow.h"
#include "cpu/spmm/tuning.h"

namespace sg {

// Least entries + rows of a part: fewer for a wide x, so that there are enough parts to balance the threads.
inline int64_t least_work(int64_t channels) { return 65536 / std::clamp<int64_t>(channels, 16, 128); }

// Prefetches for writing the cache lines of y that a row after row i will store to.
inline void prefetch_stores(float* y, int64_t i, int64_t channels) {
  const int64_t row_bytes = channels * static_cast<int64_t>(sizeof(float));
  const char* later = reinterpret_cast<const char*>(y) + i * row_bytes + kStorePrefetchBytes;
  for (int64_t byte = 0; byte < row_bytes; byte += 64) prefetch_to_write(later + byte);
}

inline bool store_bound(const Csr& csr) { return csr.entries <= 2 * csr.rows; }

// Entries between the prefetch and the use of a row of x of NV vectors.
template <int NV>
int64_t prefetch_distance(const Csr& csr, int64_t channels) {
  if (NV > kFarVectors[1]) return kPrefetchDistance;
  const int64_t passed = csr.entries * 8 + csr.columns * channels * static_cast<int64_t>(sizeof(float));
  return passed <= kCachedBytes ? kPrefetchDistance : kFarPrefetchDistance[NV > kFarVectors[0]];
}

template <class T, class Entries>
void rows_portable(const Csr& csr, const Entries& entries, const T* x, int64_t channels, T* y, int64_t begin,
                   int64_t end) {
  constexpr int64_t kWidth = 16;
  for (int64_t i = begin; i < end; ++i) {
    const auto entry = entries.row(i);
    for (int64_t c = 0; c < channels; c += kWidth) {
      const int64_t width = std::min(kWidth, channels - c);
      T sum[kWidth] = {};
      if (width == kWidth) {
        for (int64_t p = csr.indptr[i]; p < csr.indptr[i + 1]; ++p) {
          const T value = entry(p);
          const T* row = x + static_cast<int64_t>(csr.indices[p]) * channels + c;
          for (int64_t k = 0; k < kWidth; ++k) sum[k] += value * row[k];
        }
      } else {
        for (int64_t p = csr.indptr[i]; p < csr.indptr[i + 1]; ++p) {
          const T value = entry(p);
          const T* row = x + static_cast<int64_t>(csr.indices[p]) * channels + c;
          for (int64_t k = 0; k < width; ++k) sum[k] += value * row[k];
        }
      }
      std::copy(sum, sum + width, y + i * channels + c);
    }
  }
}

#ifdef SG_X86

// Columns [0, width) of one row of y, 8 (NV - 1) < width <= 8 NV, from the entries [begin, end). Where NV > 1 the last
// vector overlaps its neighbour instead of passing the end: the shared columns are computed twice, to the same bits. NV
// = 1 uses a mask. The latency of loads and additions limits narrow rows: so they load two indices at a time, and a sum
// has two chains. In wide rows the chains of neighbouring vectors and rows overlap anyway. With kOnto the sums start
// from y. Rows of x are prefetched `distance` entries before their use.
template <int NV, bool kOnto = false, class Entry>
SG_AVX2 inline void tile_avx2(const Csr& csr, const Entry& entry, const float* x, int64_t stride, int64_t width,
                              float* y, int64_t begin, int64_t end, int64_t distance = kPrefetchDistance) {
  constexpr int kChains = NV <= kTwoChainVectors ? 2 : 1;
  __m256 sum[kChains][NV];
#pragma GCC unroll 16  // otherwise GCC keeps the longer loops and spills the sums
  for (int k = 0; k < kChains * NV; ++k) sum[k / NV][k % NV] = _mm256_setzero_ps();
  const int64_t last = NV > 1 ? width - 8 : 0;
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(width)), lanes);
  if (kOnto) {
#pragma GCC unroll 16
    for (int k = 0; k < NV - 1; ++k) sum[0][k] = _mm256_loadu_ps(y + 8 * k);
    sum[0][NV - 1] = NV > 1 ? _mm256_loadu_ps(y + last) : _mm256_maskload_ps(y, mask);
  }
  const auto prefetch_row = [&](int64_t column) SG_AVX2 __attribute__((always_inline)) {
    const char* later = reinterpret_cast<const char*>(x + column * stride);
#pragma GCC unroll 8
    for (int line = 0; line < (NV * 32 + 63) / 64; ++line) _mm_prefetch(later + 64 * line, _MM_HINT_T0);
  };
  const auto add = [&](int64_t p, int64_t column, __m256 (&to)[NV]) SG_AVX2 __attribute__((always_inline)) {
    const float* row = x + column * stride;
    const __m256 value = _mm256_set1_ps(entry(p));
#pragma GCC unroll 16
    for (int k = 0; k < NV - 1; ++k) to[k] = _mm256_fmadd_ps(value, _mm256_loadu_ps(row + 8 * k), to[k]);
    const __m256 tail = NV > 1 ? _mm256_loadu_ps(row + last) : _mm256_maskload_ps(row, mask);
    to[NV - 1] = _mm256_fmadd_ps(value, tail, to[NV - 1]);
  };
  int64_t p = begin;
  if (NV <= kPairedVectors) {
    for (const int64_t stop = std::min(end, csr.entries - distance) - 1; p < stop; p += 2) {
      const int64_t later = load_two_indices(csr.indices + p + distance), now = load_two_indices(csr.indices + p);
      prefetch_row(static_cast<int32_t>(later));
      add(p, static_cast<int32_t>(now), sum[0]);
      prefetch_row(later >> 32);
      add(p + 1, now >> 32, sum[kChains - 1]);
    }
    for (; p + 1 < end; p += 2) {  // the last entries of the matrix
      add(p, csr.indices[p], sum[0]);
      add(p + 1, csr.indices[p + 1], sum[kChains - 1]);
    }
  }
  for (; p < end; ++p) {
    if (p + distance < csr.entries) prefetch_row(csr.indices[p + distance]);
    add(p, csr.indices[p], sum[0]);
  }
  if (kChains > 1) {
#pragma GCC unroll 16
    for (int k = 0; k < NV; ++k) sum[0][k] = _mm256_add_ps(sum[0][k], sum[kChains - 1][k]);
  }
#pragma GCC unroll 16
  for (int k = 0; k < NV - 1; ++k) _mm256_storeu_ps(y + 8 * k, sum[0][k]);
  if (NV > 1) _mm256_storeu_ps(y + last, sum[0][NV - 1]);
  else _mm256_maskstore_ps(y, mask, sum[0][0]);
}

template <int NV, class Entries>
SG_AVX2 void rows_avx2(const Csr& csr, const Entries& entries, const float* x, int64_t channels, float* y,
                       int64_t begin, int64_t end) {
  const int64_t distance = prefetch_distance<NV>(csr, channels);
  const bool written = store_bound(csr);
  for (int64_t i = begin; i < end; ++i) {
    if (written) prefetch_stores(y, i, channels);
    tile_avx2<NV>(csr, entries.row(i), x, channels, channels, y + i * channels, csr.indptr[i], csr.indptr[i + 1],
                  distance);
  }
}

// Scales one row of x, for a row of A with one entry and an x of at least 8 columns: the same bits as the general form.
SG_AVX2 inline void scaled_avx2(const float* row, float value, int64_t channels, float* y) {
  const __m256 factor = _mm256_set1_ps(value), zero = _mm256_setzero_ps();
  const auto scale = [&](int64_t c) SG_AVX2 {
    _mm256_storeu_ps(y + c, _mm256_fmadd_ps(factor, _mm256_loadu_ps(row + c), zero));
  };
  for (int64_t c = 0; c + 8 <= channels; c += 8) scale(c);
  if (channels % 8 != 0) scale(channels - 8);
}

// More columns than registers: tiles of kTileVectors, the last one of NV vectors. The tiles alternate every
// kTiledEntries entries, so these entries cost one TLB miss for each page of x, and their indices and values stay in
// the first-level cache.
template <int NV, class Entries>
SG_AVX2 void tiled_rows_avx2(const Csr& csr, const Entries& entries, const float* x, int64_t channels, float* y,
                             int64_t begin, int64_t end) {
  constexpr int64_t kWidth = 8 * kTileVectors;
  for (int64_t i = begin; i < end; ++i) {
    const auto entry = entries.row(i);
    const int64_t first = csr.indptr[i], past = csr.indptr[i + 1];
    if (past - first == 1) {
      prefetch_stores(y, i, channels);
      scaled_avx2(x + csr.indices[first] * channels, entry(first), channels, y + i * channels);
      continue;
    }
    const auto add = [&](auto onto, int64_t from, int64_t to) SG_AVX2 __attribute__((always_inline)) {
      constexpr bool kOnto = decltype(onto)::value;
      int64_t c = 0;
      for (; c + kWidth < channels; c += kWidth) {
        tile_avx2<kTileVectors, kOnto>(csr, entry, x + c, channels, kWidth, y + i * channels + c, from, to);
      }
      tile_avx2<NV, kOnto>(csr, entry, x + c, channels, channels - c, y + i * channels + c, from, to);
    };
    int64_t p = std::min(past, first + kTiledEntries);
    add(std::false_type{}, first, p);
    for (; p < past; p += kTiledEntries) add(std::true_type{}, p, std::min(past, p + kTiledEntries));
  }
}

template <class Entries>
Rows<Entries> pick_rows(int64_t columns, int64_t channels) {
  using R = Rows<Entries>;
  static constexpr R whole[kMostFarVectors] = {
      nullptr,               rows_avx2<2, Entries>, rows_avx2<3, Entries>, rows_avx2<4, Entries>,
      rows_avx2<5, Entries>, rows_avx2<6, Entries>, rows_avx2<7, Entries>, rows_avx2<8, Entries>,
      rows_avx2<9, Entries>, rows_avx2<10, Entries>, rows_avx2<11, Entries>, rows_avx2<12, Entries>,
      rows_avx2<13, Entries>, rows_avx2<14, Entries>, rows_avx2<15, Entries>, rows_avx2<16, Entries>};
  static constexpr R tiled[kTileVectors] = {
      tiled_rows_avx2<1, Entries>, tiled_rows_avx2<2, Entries>, tiled_rows_avx2<3, Entries>,
      tiled_rows_avx2<4, Entries>, tiled_rows_avx2<5, Entries>, tiled_rows_avx2<6, Entries>,
      tiled_rows_avx2<7, Entries>, tiled_rows_avx2<8, Entries>};
  if (channels <= kNarrow) return pick_narrow_rows<Entries>(columns, channels);
  const int64_t vectors = (channels + 7) / 8;
  const bool far = columns * channels * static_cast<int64_t>(sizeof(float)) > kCachedBytes;
  if (vectors <= (far ? kMostFarVectors : kMostVectors)) return whole[vectors - 1];
  return tiled[(vectors - 1) % kTileVectors];
}

#endif

// Returns the kernel for the rows [begin, end) of y = A x that suits the shape of x and the processor.
template <class Entries>
Rows<Entries> choose_rows(int64_t columns, int64_t channels) {
#ifdef SG_X86
  if (has_avx2() && columns > 0 && channels > 0) return pick_rows<Entries>(columns, channels);
#endif
  static_cast<void>(columns);
  static_cast<void>(channels);
  return rows_portable<float, Entries>;
}

}  // namespace sg
