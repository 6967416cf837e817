// Rows of A x where x has at most eight columns, with AVX2.
//
// A row of x is shorter than a vector, and x often fits in the second-level cache: the number of instructions limits
// the speed. A vector holds four entries of one column, two entries of two columns, or one entry of more. Each y[i, c]
// is the sum of four chains of additions (one column) or two; the length of the row alone determines the chain of an
// entry.

#pragma once

#include <algorithm>

#include "cpu/spmm/spmm_entries.h"
#include "cpu/spmm/tuning.h"

namespace sg {

#ifdef SG_X86

template <class Entries>
SG_AVX2 void rows_of_one_column(const Csr& csr, const Entries& entries, const float* x, int64_t, float* y,
                                int64_t begin, int64_t end) {
  alignas(16) static constexpr int32_t kLanes[8] = {-1, -1, -1, -1, 0, 0, 0, 0};
  for (int64_t i = begin; i < end; ++i) {
    const auto entry = entries.row(i);
    int64_t p = csr.indptr[i];
    const int64_t past = csr.indptr[i + 1], odd = (past - p) % 4;
    // The remainder of a division by four comes first, under a mask: so no branch depends on it.
    const __m128i mask = _mm_loadu_si128(reinterpret_cast<const __m128i*>(kLanes + 4 - odd));
    const __m128 some = gather4(x, _mm_maskload_epi32(csr.indices + p, mask));
    __m128 sum = _mm_mul_ps(entry.four(p, mask), _mm_and_ps(some, _mm_castsi128_ps(mask)));
    for (p += odd; p < past; p += 4) {
      const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(csr.indices + p));
      sum = _mm_fmadd_ps(entry.four(p), gather4(x, four), sum);
    }
    sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    y[i] = _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
  }
}

template <class Entries>
SG_AVX2 void rows_of_two_columns(const Csr& csr, const Entries& entries, const float* x, int64_t, float* y,
                                 int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const auto entry = entries.row(i);
    int64_t p = csr.indptr[i];
    const int64_t past = csr.indptr[i + 1];
    const auto load = [x](int64_t column) SG_AVX2 {
      return _mm_castpd_ps(_mm_load_sd(reinterpret_cast<const double*>(x + 2 * column)));
    };
    __m128 sum = _mm_setzero_ps();
    for (; p + 1 < past; p += 2) {
      const int64_t two = load_two_indices(csr.indices + p);
      const __m128 both = _mm_loadh_pi(load(static_cast<int32_t>(two)),
                                       reinterpret_cast<const __m64*>(x + 2 * (two >> 32)));
      const __m128 factors = _mm_blend_ps(_mm_set1_ps(entry(p)), _mm_set1_ps(entry(p + 1)), 0b1100);
      sum = _mm_fmadd_ps(factors, both, sum);
    }
    if (p < past) sum = _mm_fmadd_ps(_mm_set1_ps(entry(p)), load(csr.indices[p]), sum);
    _mm_storel_pi(reinterpret_cast<__m64*>(y + 2 * i), _mm_add_ps(sum, _mm_movehl_ps(sum, sum)));
  }
}

// A vector of four floats for rows of three or four columns.
struct FourColumns {
  using Vector = __m128;
  using Mask = __m128i;
  SG_AVX2 static Mask first(int64_t count) {
    return _mm_cmpgt_epi32(_mm_set1_epi32(static_cast<int>(count)), _mm_setr_epi32(0, 1, 2, 3));
  }
  SG_AVX2 static Vector zero() { return _mm_setzero_ps(); }
  SG_AVX2 static Vector sum(Vector a, Vector b) { return _mm_add_ps(a, b); }
  SG_AVX2 static Vector add(float value, const float* row, Mask mask, Vector to) {
    return _mm_fmadd_ps(_mm_set1_ps(value), _mm_maskload_ps(row, mask), to);
  }
  SG_AVX2 static void store(float* y, Vector sum) { _mm_storeu_ps(y, sum); }
  SG_AVX2 static void store(float* y, Mask mask, Vector sum) { _mm_maskstore_ps(y, mask, sum); }
};

struct EightColumns {
  using Vector = __m256;
  using Mask = __m256i;
  SG_AVX2 static Mask first(int64_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  SG_AVX2 static Vector zero() { return _mm256_setzero_ps(); }
  SG_AVX2 static Vector sum(Vector a, Vector b) { return _mm256_add_ps(a, b); }
  SG_AVX2 static Vector add(float value, const float* row, Mask mask, Vector to) {
    return _mm256_fmadd_ps(_mm256_set1_ps(value), _mm256_maskload_ps(row, mask), to);
  }
  SG_AVX2 static void store(float* y, Vector sum) { _mm256_storeu_ps(y, sum); }
  SG_AVX2 static void store(float* y, Mask mask, Vector sum) { _mm256_maskstore_ps(y, mask, sum); }
};

// Stores a row as a whole vector, which also covers the next rows: these are stored later. Only the last row, which no
// row may follow, uses a masked store, which takes several times as long.
template <class Columns, bool kFar, class Entries>
SG_AVX2 void rows_of_few_columns(const Csr& csr, const Entries& entries, const float* x, int64_t channels, float* y,
                                 int64_t begin, int64_t end) {
  const auto mask = Columns::first(channels);
  for (int64_t i = begin; i < end; ++i) {
    const auto entry = entries.row(i);
    int64_t p = csr.indptr[i];
    const int64_t past = csr.indptr[i + 1];
    typename Columns::Vector even = Columns::zero(), odd = even;
    for (const int64_t stop = (kFar ? std::min(past, csr.entries - kPrefetchDistance) : past) - 1; p < stop; p += 2) {
      const int64_t now = load_two_indices(csr.indices + p);
      if (kFar) {
        const int64_t later = load_two_indices(csr.indices + p + kPrefetchDistance);
        _mm_prefetch(reinterpret_cast<const char*>(x + static_cast<int32_t>(later) * channels), _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(x + (later >> 32) * channels), _MM_HINT_T0);
      }
      even = Columns::add(entry(p), x + static_cast<int32_t>(now) * channels, mask, even);
      odd = Columns::add(entry(p + 1), x + (now >> 32) * channels, mask, odd);
    }
    for (; p < past; p += 2) {
      even = Columns::add(entry(p), x + csr.indices[p] * channels, mask, even);
      if (p + 1 < past) odd = Columns::add(entry(p + 1), x + csr.indices[p + 1] * channels, mask, odd);
    }
    const auto sum = Columns::sum(even, odd);
    if (i + 1 < end) Columns::store(y + i * channels, sum);
    else Columns::store(y + i * channels, mask, sum);
  }
}

template <class Entries>
Rows<Entries> pick_narrow_rows(int64_t columns, int64_t channels) {
  if (channels == 1) return rows_of_one_column<Entries>;
  if (channels == 2) return rows_of_two_columns<Entries>;
  const bool far = channels * columns * static_cast<int64_t>(sizeof(float)) > kNearBytes;
  if (channels <= 4) {
    return far ? rows_of_few_columns<FourColumns, true, Entries> : rows_of_few_columns<FourColumns, false, Entries>;
  }
  return far ? rows_of_few_columns<EightColumns, true, Entries> : rows_of_few_columns<EightColumns, false, Entries>;
}

#endif

}  // namespace sg
