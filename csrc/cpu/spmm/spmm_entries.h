// Access to the entries of a sparse matrix in the kernels of A x, and the type of these kernels.

#pragma once

#include <cstring>

#include "cpu/core/csr.h"

namespace sg {

#ifdef SG_X86
// Loads two indices as one number, the first in the low half.
inline int64_t load_two_indices(const int32_t* indices) {
  int64_t both;
  std::memcpy(&both, indices, sizeof both);
  return both;
}

// Gathers the elements of x at four indices.
SG_AVX2 inline __m128 gather4(const float* x, __m128i indices) {
  const int64_t low = _mm_cvtsi128_si64(indices), high = _mm_extract_epi64(indices, 1);
  __m128 four = _mm_load_ss(x + static_cast<int32_t>(low));
  four = _mm_insert_ps(four, _mm_load_ss(x + (low >> 32)), 0x10);
  four = _mm_insert_ps(four, _mm_load_ss(x + static_cast<int32_t>(high)), 0x20);
  return _mm_insert_ps(four, _mm_load_ss(x + (high >> 32)), 0x30);
}
#endif

// A's entries as they are stored. Another class in its place computes the entries on the fly (rayleigh.cpp). A kernel
// calls row(i) once for each row; the result returns the entry p of that row, or the entries p to p + 3, where a mask
// sets entries to 0.
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
