// The entries of a sparse matrix as the kernels of A x take them, and the type of these kernels.

#pragma once

#include <cstring>

#include "cpu/core/csr.h"

namespace sg {

constexpr int64_t kAhead = 16;  // entries between a prefetch and its use, where rows of x are not far away

#ifdef SG_X86
// Two indices at once, the first in the low half.
inline int64_t two_indices(const int32_t* indices) {
  int64_t both;
  std::memcpy(&both, indices, sizeof both);
  return both;
}

// The elements of x at four indices.
SG_AVX2 inline __m128 four_elements(const float* x, __m128i indices) {
  const int64_t low = _mm_cvtsi128_si64(indices), high = _mm_extract_epi64(indices, 1);
  __m128 four = _mm_load_ss(x + static_cast<int32_t>(low));
  four = _mm_insert_ps(four, _mm_load_ss(x + (low >> 32)), 0x10);
  four = _mm_insert_ps(four, _mm_load_ss(x + static_cast<int32_t>(high)), 0x20);
  return _mm_insert_ps(four, _mm_load_ss(x + (high >> 32)), 0x30);
}
#endif

// A's entries as they are stored. Another class in its place makes the entries as they are used: row(i) is called once
// for each row, and what it returns gives the entry p of that row, or the entries p to p + 3: all of them, or those
// that a mask names and 0 for the others.
template <class T>
struct StoredEntries {
  const T* values;

  const StoredEntries& row(int64_t) const { return *this; }
  T operator()(int64_t p) const { return values[p]; }
#ifdef SG_X86
  SG_AVX2 __m128 four(int64_t p) const { return _mm_loadu_ps(values + p); }
  SG_AVX2 __m128 four(int64_t p, __m128i mask) const { return _mm_maskload_ps(values + p, mask); }
#endif
};

// Computes rows of y = A x: (A, its entries, x, the number of x's columns, y, first row, past the last).
template <class Entries>
using Rows = void (*)(const Csr&, const Entries&, const float*, int64_t, float*, int64_t, int64_t);

}  // namespace sg
