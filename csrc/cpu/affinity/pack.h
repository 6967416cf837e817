// Packing of keys for the tiles: the transpose of 16 rows, a sliver of 16 columns.

#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

#include "cpu/affinity/affinity_tile.h"
#include "cpu/core/simd.h"

namespace sg {

#ifdef SG_X86
SG_AVX2 inline void transpose_octet(const float* const* rows, int64_t k, float* to) {
  __m256 r[8], t[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(rows[i] + k);
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(to + i * kTileColumns, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(to + (i + 4) * kTileColumns, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}

SG_AVX2 inline void pack_sliver_avx2(const float* const* rows, int64_t depth, float* packed) {
  int64_t k = 0;
  for (; k + 8 <= depth; k += 8) {
    transpose_octet(rows, k, packed + k * kTileColumns);
    transpose_octet(rows + 8, k, packed + k * kTileColumns + 8);
  }
  for (; k < depth; ++k) {
    for (int c = 0; c < kTileColumns; ++c) packed[k * kTileColumns + c] = rows[c][k];
  }
}
#endif

// rows: 16 pointers to `depth` floats. packed: depth x 16.
inline void pack_sliver(const float* const* rows, int64_t depth, float* packed) {
#ifdef SG_X86
  if (has_avx2()) {
    pack_sliver_avx2(rows, depth, packed);
    return;
  }
#endif
  for (int64_t k = 0; k < depth; ++k) {
    for (int c = 0; c < kTileColumns; ++c) packed[k * kTileColumns + c] = rows[c][k];
  }
}

}  // namespace sg
