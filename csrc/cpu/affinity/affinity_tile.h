// A 6 x 16 tile of query . key^T and the test which of its products may enter a list.
//
// Every product is one chain of multiply-adds over the channels in ascending order. So it does not depend on the
// blocking, and since a b = b a, the product of (i, j) has the same bits as that of (j, i).

#pragma once

#include <cstdint>

#include "cpu/core/simd.h"

namespace sg {

constexpr int kTileRows = 6;
constexpr int kTileColumns = 16;

// The products of a tile that has a candidate, and the candidates as bit masks over the columns.
struct Tile {
  alignas(64) float value[kTileRows][kTileColumns];
  uint32_t for_row[kTileRows];     // may enter the row's list
  uint32_t for_column[kTileRows];  // may enter the column's list; 0 where column_least is null
};

// query: the tile's rows of `depth` floats. keys: depth x 16 floats. row_least: 6, column_least: 16 values or null.
// Returns false where no product reaches any bound; the tile is then not written.
using TileFunction = bool (*)(int64_t depth, const float* const* query, const float* keys, const float* row_least,
                              const float* column_least, Tile& tile);

inline bool tile_portable(int64_t depth, const float* const* query, const float* keys, const float* row_least,
                          const float* column_least, Tile& tile) {
  for (int r = 0; r < kTileRows; ++r) {
    float sum[kTileColumns] = {};
    const float* row = query[r];
    for (int64_t k = 0; k < depth; ++k) {
      for (int c = 0; c < kTileColumns; ++c) sum[c] += row[k] * keys[k * kTileColumns + c];
    }
    for (int c = 0; c < kTileColumns; ++c) tile.value[r][c] = sum[c];
  }
  uint32_t any = 0;
  for (int r = 0; r < kTileRows; ++r) {
    uint32_t rows = 0, columns = 0;
    for (int c = 0; c < kTileColumns; ++c) {
      rows |= static_cast<uint32_t>(tile.value[r][c] >= row_least[r]) << c;
      if (column_least != nullptr) columns |= static_cast<uint32_t>(tile.value[r][c] >= column_least[c]) << c;
    }
    tile.for_row[r] = rows;
    tile.for_column[r] = columns;
    any |= rows | columns;
  }
  return any != 0;
}

#ifdef SG_X86

SG_AVX2 inline uint32_t reaches(const __m256 (&sum)[2], __m256 low, __m256 high) {
  const int first = _mm256_movemask_ps(_mm256_cmp_ps(sum[0], low, _CMP_GE_OQ));
  const int second = _mm256_movemask_ps(_mm256_cmp_ps(sum[1], high, _CMP_GE_OQ));
  return static_cast<uint32_t>(first) | static_cast<uint32_t>(second) << 8;
}

SG_AVX2 inline bool tile_avx2(int64_t depth, const float* const* query, const float* keys, const float* row_least,
                              const float* column_least, Tile& tile) {
  __m256 sum[kTileRows][2];
#pragma GCC unroll 6
  for (int r = 0; r < kTileRows; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_ps();
  const float* q0 = query[0];
  const float* q1 = query[1];
  const float* q2 = query[2];
  const float* q3 = query[3];
  const float* q4 = query[4];
  const float* q5 = query[5];
#define SG_ROW(r)                                         \
  {                                                       \
    const __m256 factor = _mm256_broadcast_ss(q##r + k);  \
    sum[r][0] = _mm256_fmadd_ps(factor, low, sum[r][0]);  \
    sum[r][1] = _mm256_fmadd_ps(factor, high, sum[r][1]); \
  }
#pragma GCC unroll 4
  for (int64_t k = 0; k < depth; ++k) {
    const __m256 low = _mm256_load_ps(keys + k * kTileColumns);
    const __m256 high = _mm256_load_ps(keys + k * kTileColumns + 8);
    SG_ROW(0) SG_ROW(1) SG_ROW(2) SG_ROW(3) SG_ROW(4) SG_ROW(5)
  }
#undef SG_ROW
  __m256 any = _mm256_setzero_ps();
#pragma GCC unroll 6
  for (int r = 0; r < kTileRows; ++r) {
    const __m256 least = _mm256_broadcast_ss(row_least + r);
    any = _mm256_or_ps(
        any, _mm256_or_ps(_mm256_cmp_ps(sum[r][0], least, _CMP_GE_OQ), _mm256_cmp_ps(sum[r][1], least, _CMP_GE_OQ)));
  }
  if (column_least != nullptr) {
    const __m256 low = _mm256_loadu_ps(column_least), high = _mm256_loadu_ps(column_least + 8);
#pragma GCC unroll 6
    for (int r = 0; r < kTileRows; ++r) {
      any = _mm256_or_ps(
          any, _mm256_or_ps(_mm256_cmp_ps(sum[r][0], low, _CMP_GE_OQ), _mm256_cmp_ps(sum[r][1], high, _CMP_GE_OQ)));
    }
  }
  if (_mm256_movemask_ps(any) == 0) return false;
#pragma GCC unroll 6
  for (int r = 0; r < kTileRows; ++r) {
    _mm256_store_ps(tile.value[r], sum[r][0]);
    _mm256_store_ps(tile.value[r] + 8, sum[r][1]);
    const __m256 least = _mm256_broadcast_ss(row_least + r);
    tile.for_row[r] = reaches(sum[r], least, least);
    tile.for_column[r] = 0;
    if (column_least != nullptr) {
      tile.for_column[r] = reaches(sum[r], _mm256_loadu_ps(column_least), _mm256_loadu_ps(column_least + 8));
    }
  }
  return true;
}

#endif

// Returns a bit mask of the six rows, `stride` floats apart, that have a product with one of 16 columns that reaches
// row_least (6) or column_least (16, or null). It serves the bounds, whose values need not be stored.
using ReachFunction = uint32_t (*)(int64_t depth, const float* rows, int64_t stride, const float* keys,
                                   const float* row_least, const float* column_least);

inline uint32_t rows_reaching_portable(int64_t depth, const float* rows, int64_t stride, const float* keys,
                                       const float* row_least, const float* column_least) {
  const float* query[kTileRows];
  for (int64_t r = 0; r < kTileRows; ++r) query[r] = rows + r * stride;
  Tile tile;
  uint32_t reached = 0;
  if (!tile_portable(depth, query, keys, row_least, column_least, tile)) return 0;
  for (int r = 0; r < kTileRows; ++r) reached |= static_cast<uint32_t>((tile.for_row[r] | tile.for_column[r]) != 0) << r;
  return reached;
}

#ifdef SG_X86

SG_AVX2 inline uint32_t rows_reaching_avx2(int64_t depth, const float* rows, int64_t stride, const float* keys,
                                           const float* row_least, const float* column_least) {
  __m256 sum[kTileRows][2];
#pragma GCC unroll 6
  for (int r = 0; r < kTileRows; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_ps();
  const float *upper = rows, *lower = rows + 3 * stride;  // two base addresses fit in registers, six do not
#pragma GCC unroll 2
  for (int64_t k = 0; k < depth; ++k, ++upper, ++lower, keys += kTileColumns) {
    const __m256 low = _mm256_load_ps(keys), high = _mm256_load_ps(keys + 8);
#pragma GCC unroll 3
    for (int r = 0; r < 3; ++r) {
      const __m256 factor = _mm256_broadcast_ss(upper + r * stride);
      sum[r][0] = _mm256_fmadd_ps(factor, low, sum[r][0]);
      sum[r][1] = _mm256_fmadd_ps(factor, high, sum[r][1]);
    }
#pragma GCC unroll 3
    for (int r = 0; r < 3; ++r) {
      const __m256 factor = _mm256_broadcast_ss(lower + r * stride);
      sum[3 + r][0] = _mm256_fmadd_ps(factor, low, sum[3 + r][0]);
      sum[3 + r][1] = _mm256_fmadd_ps(factor, high, sum[3 + r][1]);
    }
  }
  __m256 reached[kTileRows];
#pragma GCC unroll 6
  for (int r = 0; r < kTileRows; ++r) {
    const __m256 least = _mm256_broadcast_ss(row_least + r);
    reached[r] = _mm256_or_ps(_mm256_cmp_ps(sum[r][0], least, _CMP_GE_OQ), _mm256_cmp_ps(sum[r][1], least, _CMP_GE_OQ));
  }
  if (column_least != nullptr) {
    const __m256 low = _mm256_loadu_ps(column_least), high = _mm256_loadu_ps(column_least + 8);
#pragma GCC unroll 6
    for (int r = 0; r < kTileRows; ++r) {
      reached[r] = _mm256_or_ps(reached[r], _mm256_or_ps(_mm256_cmp_ps(sum[r][0], low, _CMP_GE_OQ),
                                                         _mm256_cmp_ps(sum[r][1], high, _CMP_GE_OQ)));
    }
  }
  uint32_t mask = 0;
#pragma GCC unroll 6
  for (int r = 0; r < kTileRows; ++r) mask |= static_cast<uint32_t>(_mm256_movemask_ps(reached[r]) != 0) << r;
  return mask;
}

#endif

inline ReachFunction pick_rows_reaching() {
#ifdef SG_X86
  if (has_avx2()) return rows_reaching_avx2;
#endif
  return rows_reaching_portable;
}

inline TileFunction pick_tile() {
#ifdef SG_X86
  if (has_avx2()) return tile_avx2;
#endif
  return tile_portable;
}

}  // namespace sg
