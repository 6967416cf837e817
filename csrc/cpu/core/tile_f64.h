// A 4 x 8 tile of a product of tall matrices in float64, shared by gram and rotate.

#pragma once

#include <cstdint>

#include "cpu/core/simd.h"

namespace sg {

constexpr int64_t kQuad = 4;   // rows of the tile
constexpr int64_t kOctet = 8;  // columns of the tile
constexpr int64_t kTileValues = kQuad * kOctet;

// sum[r][c] += the sum over k of a[k * a_stride + r] * b[k * 8 + c], one chain of additions for each value.
using TileF64 = void (*)(int64_t depth, const double* a, int64_t a_stride, const double* b, double* sum);

inline void tile_f64_portable(int64_t depth, const double* a, int64_t a_stride, const double* b, double* sum) {
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t r = 0; r < kQuad; ++r) {
      for (int64_t c = 0; c < kOctet; ++c) sum[r * kOctet + c] += a[k * a_stride + r] * b[k * kOctet + c];
    }
  }
}

#ifdef SG_X86
SG_AVX2 inline void tile_f64_avx2(int64_t depth, const double* a, int64_t a_stride, const double* b, double* sum) {
  __m256d s[kQuad][2];
#pragma GCC unroll 4
  for (int r = 0; r < kQuad; ++r) {
    s[r][0] = _mm256_loadu_pd(sum + r * kOctet);
    s[r][1] = _mm256_loadu_pd(sum + r * kOctet + 4);
  }
#pragma GCC unroll 4
  for (int64_t k = 0; k < depth; ++k) {
    const __m256d low = _mm256_loadu_pd(b + k * kOctet), high = _mm256_loadu_pd(b + k * kOctet + 4);
#pragma GCC unroll 4
    for (int r = 0; r < kQuad; ++r) {
      const __m256d factor = _mm256_broadcast_sd(a + k * a_stride + r);
      s[r][0] = _mm256_fmadd_pd(factor, low, s[r][0]);
      s[r][1] = _mm256_fmadd_pd(factor, high, s[r][1]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kQuad; ++r) {
    _mm256_storeu_pd(sum + r * kOctet, s[r][0]);
    _mm256_storeu_pd(sum + r * kOctet + 4, s[r][1]);
  }
}
#endif

inline TileF64 pick_tile_f64() {
#ifdef SG_X86
  if (has_avx2()) return tile_f64_avx2;
#endif
  return tile_f64_portable;
}

}  // namespace sg
