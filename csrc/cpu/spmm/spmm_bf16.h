// Rows of A x for bfloat16 x: loads half the bytes of float32 and accumulates in float32.
//
// A vector of sixteen bfloat16 numbers becomes two vectors of eight floats, the even columns (by a shift) and the odd
// ones (by a mask): cheaper than widening eight at a time. The store of the finished row interleaves them again.

#pragma once

#include <cstring>

#include "cpu/core/csr.h"
#include "cpu/spmm/spmm_rows.h"
#include "cpu/spmm/tuning.h"

namespace sg {

// Whether to convert a small x to float32 as a whole first: the kernels of few columns are much faster with floats.
inline bool widened_first(int64_t columns, int64_t channels) {
  return channels <= kNarrow && columns * channels * static_cast<int64_t>(sizeof(float)) <= kNearBytes;
}

inline float widen(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

// Converts in parallel.
inline void widen_all(const uint16_t* from, int64_t count, float* to) {
  constexpr int64_t kLeast = 32768;
  const int64_t tasks = part_count(count, kLeast, 2);
  for_each_task(tasks, [&](int64_t task) {
    const int64_t past = count * (task + 1) / tasks;
    for (int64_t k = count * task / tasks; k < past; ++k) to[k] = widen(from[k]);
  });
}

using RowsBf16 = void (*)(const Csr&, const StoredEntries<float>&, const uint16_t*, int64_t, float*, int64_t, int64_t);

inline void rows_bf16_portable(const Csr& csr, const StoredEntries<float>& entry, const uint16_t* x, int64_t channels,
                               float* y, int64_t begin, int64_t end) {
  constexpr int64_t kWidth = 16;
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t c = 0; c < channels; c += kWidth) {
      const int64_t width = std::min(kWidth, channels - c);
      float sum[kWidth] = {};
      for (int64_t p = csr.indptr[i]; p < csr.indptr[i + 1]; ++p) {
        const float value = entry(p);
        const uint16_t* row = x + static_cast<int64_t>(csr.indices[p]) * channels + c;
        for (int64_t k = 0; k < width; ++k) sum[k] += value * widen(row[k]);
      }
      std::copy(sum, sum + width, y + i * channels + c);
    }
  }
}

#ifdef SG_X86

__attribute__((noinline)) inline const uint16_t* copy_row(const uint16_t* row, int64_t width, uint16_t (&copy)[16]) {
  std::memset(copy, 0, sizeof copy);
  std::memcpy(copy, row, static_cast<size_t>(width) * sizeof(uint16_t));
  return copy;
}

inline int64_t prefetch_distance_bf16(const Csr& csr, int64_t channels) {
  const int64_t passed = csr.entries * 8 + csr.columns * channels * static_cast<int64_t>(sizeof(uint16_t));
  return passed <= kCachedBytes ? kPrefetchDistanceBf16 : kFarPrefetchDistanceBf16[channels > 64];
}

// Columns [0, width) of one row of y from the entries [begin, end): NP pairs of vectors, then NH = 0 or 1
// single vectors. The last one overlaps its neighbour, as in tile_avx2. A width below 16, kShort, takes one pair, whose
// load covers part of the next row; the last rows of x are copied instead, since the load would pass the end. Narrow
// rows take two entries at a time and have two chains, as in tile_avx2.
template <int NP, int NH, bool kShort>
SG_AVX2 inline void tile_bf16_avx2(const Csr& csr, const float* values, const uint16_t* x, int64_t stride,
                                   int64_t width, float* y, int64_t begin, int64_t end, int64_t distance) {
  constexpr int kChains = 2 * NP + NH <= kTwoChainVectors ? 2 : 1;
  __m256 even[kChains][NP], odd[kChains][NP], half[kChains];
#pragma GCC unroll 16
  for (int k = 0; k < kChains * NP; ++k) even[k / NP][k % NP] = odd[k / NP][k % NP] = _mm256_setzero_ps();
  for (int k = 0; k < kChains; ++k) half[k] = _mm256_setzero_ps();
  const int64_t last = NP > 1 && NH == 0 ? width - 16 : 16 * (NP - 1);
  constexpr int kLines = (NP * 32 + NH * 16 + 63) / 64;
  const int64_t last_whole = csr.columns * stride - 16;
  const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  const auto prefetch_row = [&](int64_t column) SG_AVX2 __attribute__((always_inline)) {
    const char* later = reinterpret_cast<const char*>(x + column * stride);
#pragma GCC unroll 8
    for (int line = 0; line < kLines; ++line) _mm_prefetch(later + 64 * line, _MM_HINT_T0);
    // A row that is not aligned to a cache line covers one line more.
    if (NP + NH > 1) _mm_prefetch(later + 2 * width - 1, _MM_HINT_T0);
  };
  const auto add = [&](int64_t p, int64_t column, int chain) SG_AVX2 __attribute__((always_inline)) {
    const int64_t place = column * stride;
    const uint16_t* row = x + place;
    uint16_t copy[16];
    if (kShort && __builtin_expect(place > last_whole, 0)) row = copy_row(row, width, copy);
    const __m256 value = _mm256_broadcast_ss(values + p);
#pragma GCC unroll 8
    for (int k = 0; k < NP; ++k) {
      __m256i pair = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + (k < NP - 1 ? 16 * k : last)));
      asm("" : "+x"(pair));  // otherwise GCC loads it again for the mask, and loads limit this loop
      even[chain][k] = _mm256_fmadd_ps(value, _mm256_castsi256_ps(_mm256_slli_epi32(pair, 16)), even[chain][k]);
      odd[chain][k] = _mm256_fmadd_ps(value, _mm256_castsi256_ps(_mm256_and_si256(pair, high)), odd[chain][k]);
    }
    if (NH > 0) {
      const __m128i eight = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + width - 8));
      const __m256i wide = _mm256_slli_epi32(_mm256_cvtepu16_epi32(eight), 16);
      half[chain] = _mm256_fmadd_ps(value, _mm256_castsi256_ps(wide), half[chain]);
    }
  };
  int64_t p = begin;
  if (kChains > 1) {
    for (const int64_t stop = std::min(end, csr.entries - distance) - 1; p < stop; p += 2) {
      const int64_t later = load_two_indices(csr.indices + p + distance), now = load_two_indices(csr.indices + p);
      prefetch_row(static_cast<int32_t>(later));
      add(p, static_cast<int32_t>(now), 0);
      prefetch_row(later >> 32);
      add(p + 1, now >> 32, kChains - 1);
    }
    for (; p + 1 < end; p += 2) {  // the last entries of the matrix
      add(p, csr.indices[p], 0);
      add(p + 1, csr.indices[p + 1], kChains - 1);
    }
  }
  for (; p < end; ++p) {
    if (p + distance < csr.entries) prefetch_row(csr.indices[p + distance]);
    add(p, csr.indices[p], 0);
  }
  if (kChains > 1) {
#pragma GCC unroll 8
    for (int k = 0; k < NP; ++k) {
      even[0][k] = _mm256_add_ps(even[0][k], even[kChains - 1][k]);
      odd[0][k] = _mm256_add_ps(odd[0][k], odd[kChains - 1][k]);
    }
    half[0] = _mm256_add_ps(half[0], half[kChains - 1]);
  }
  float narrow[16];
#pragma GCC unroll 8
  for (int k = 0; k < NP; ++k) {
    float* to = kShort ? narrow : y + (k < NP - 1 ? 16 * k : last);
    const __m256 low = _mm256_unpacklo_ps(even[0][k], odd[0][k]), up = _mm256_unpackhi_ps(even[0][k], odd[0][k]);
    _mm256_storeu_ps(to, _mm256_permute2f128_ps(low, up, 0x20));
    _mm256_storeu_ps(to + 8, _mm256_permute2f128_ps(low, up, 0x31));
  }
  if (NH > 0) _mm256_storeu_ps(y + width - 8, half[0]);
  if (kShort) std::memcpy(y, narrow, static_cast<size_t>(width) * sizeof(float));
}

template <int NP, int NH, bool kShort = false>
SG_AVX2 void rows_bf16_avx2(const Csr& csr, const StoredEntries<float>& entry, const uint16_t* x, int64_t channels,
                            float* y, int64_t begin, int64_t end) {
  const int64_t distance = prefetch_distance_bf16(csr, channels);
  for (int64_t i = begin; i < end; ++i) {
    tile_bf16_avx2<NP, NH, kShort>(csr, entry.values, x, channels, channels, y + i * channels, csr.indptr[i],
                                   csr.indptr[i + 1], distance);
  }
}

// More columns than registers: tiles of kTilePairs, then the rest. A rest shorter than a pair overlaps the last tile.
template <int NP, int NH>
SG_AVX2 void tiled_rows_bf16_avx2(const Csr& csr, const StoredEntries<float>& entry, const uint16_t* x,
                                  int64_t channels, float* y, int64_t begin, int64_t end) {
  constexpr int64_t kWidth = 16 * kTilePairs;
  const int64_t distance = prefetch_distance_bf16(csr, channels);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t first = csr.indptr[i], past = csr.indptr[i + 1];
    int64_t c = 0;
    for (; c + kWidth < channels; c += kWidth) {
      tile_bf16_avx2<kTilePairs, 0, false>(csr, entry.values, x + c, channels, kWidth, y + i * channels + c, first,
                                           past, distance);
    }
    c = std::min(c, channels - 16);
    tile_bf16_avx2<NP, NH, false>(csr, entry.values, x + c, channels, channels - c, y + i * channels + c, first, past,
                            distance);
  }
}

#endif

inline RowsBf16 choose_rows_bf16(int64_t channels) {
#ifdef SG_X86
  // indexed by the number of vectors of eight columns
  static constexpr RowsBf16 whole[2 * kMostPairs + 1] = {
      nullptr,              rows_bf16_avx2<1, 0>, rows_bf16_avx2<1, 1>, rows_bf16_avx2<2, 0>,
      rows_bf16_avx2<2, 1>, rows_bf16_avx2<3, 0>, rows_bf16_avx2<3, 1>, rows_bf16_avx2<4, 0>,
      rows_bf16_avx2<4, 1>, rows_bf16_avx2<5, 0>, rows_bf16_avx2<5, 1>, rows_bf16_avx2<6, 0>,
      rows_bf16_avx2<6, 1>};
  static constexpr RowsBf16 tiled[2 * kTilePairs] = {
      tiled_rows_bf16_avx2<1, 0>, tiled_rows_bf16_avx2<1, 0>, tiled_rows_bf16_avx2<1, 1>, tiled_rows_bf16_avx2<2, 0>,
      tiled_rows_bf16_avx2<2, 1>, tiled_rows_bf16_avx2<3, 0>, tiled_rows_bf16_avx2<3, 1>, tiled_rows_bf16_avx2<4, 0>};
  const int64_t eights = (channels + 7) / 8;
  if (has_avx2() && channels > 0) {
    if (channels < 16) return rows_bf16_avx2<1, 0, true>;
    return eights <= 2 * kMostPairs + 1 ? whole[eights - 1] : tiled[(eights - 1) % (2 * kTilePairs)];
  }
#endif
  static_cast<void>(channels);
  return rows_bf16_portable;
}

}  // namespace sg
