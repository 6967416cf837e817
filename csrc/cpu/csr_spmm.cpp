// csr_spmm: y = A x for a sparse A in compressed rows and a dense x of few columns.
//
// One row of y is held in registers while the row's entries pass; the rows of x that come kAhead entries later are
// prefetched, because they lie anywhere in memory. Every y[i, c] is one chain of additions in the order of the
// entries, so the result depends neither on the number of threads nor on the parts.

#include "cpu/csr.h"
#include "cpu/torch_api.h"

namespace sg {
namespace {

constexpr const char* kOp = "csr_spmm";
constexpr int64_t kAhead = 16;        // entries between a prefetch and its use
constexpr int kMostVectors = 13;      // of 8 floats: 13 sums, the entry's value and two spare ones fill 16 registers
constexpr int kTileVectors = 8;       // the width of a tile where a row does not fit
constexpr int64_t kLeastWork = 4096;  // entries + rows of a part

template <class T>
void rows_portable(const Csr& csr, const T* values, const T* x, int64_t channels, T* y, int64_t begin, int64_t end) {
  constexpr int64_t kWidth = 16;
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t c = 0; c < channels; c += kWidth) {
      const int64_t width = std::min(kWidth, channels - c);
      T sum[kWidth] = {};
      if (width == kWidth) {
        for (int64_t p = csr.indptr[i]; p < csr.indptr[i + 1]; ++p) {
          const T value = values[p];
          const T* row = x + static_cast<int64_t>(csr.indices[p]) * channels + c;
          for (int64_t k = 0; k < kWidth; ++k) sum[k] += value * row[k];
        }
      } else {
        for (int64_t p = csr.indptr[i]; p < csr.indptr[i + 1]; ++p) {
          const T value = values[p];
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
// vector reaches back over its neighbour instead of past the end: the shared columns are computed twice, to the same
// bits. NV = 1 uses a mask. The chains of neighbouring rows overlap in the processor, so one sum a column is enough.
template <int NV>
SG_AVX2 inline void tile_avx2(const Csr& csr, const float* values, const float* x, int64_t stride, int64_t width,
                              float* y, int64_t begin, int64_t end) {
  __m256 sum[NV];
#pragma GCC unroll 16  // without it the longer loops stay loops, and the sums go to memory
  for (int k = 0; k < NV; ++k) sum[k] = _mm256_setzero_ps();
  const int64_t last = NV > 1 ? width - 8 : 0;
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(width)), lanes);
  for (int64_t p = begin; p < end; ++p) {
    if (p + kAhead < csr.entries) {
      const char* later = reinterpret_cast<const char*>(x + static_cast<int64_t>(csr.indices[p + kAhead]) * stride);
#pragma GCC unroll 8
      for (int line = 0; line < (NV * 32 + 63) / 64; ++line) _mm_prefetch(later + 64 * line, _MM_HINT_T0);
    }
    const float* row = x + static_cast<int64_t>(csr.indices[p]) * stride;
    const __m256 value = _mm256_broadcast_ss(values + p);
#pragma GCC unroll 16
    for (int k = 0; k < NV - 1; ++k) sum[k] = _mm256_fmadd_ps(value, _mm256_loadu_ps(row + 8 * k), sum[k]);
    const __m256 tail = NV > 1 ? _mm256_loadu_ps(row + last) : _mm256_maskload_ps(row, mask);
    sum[NV - 1] = _mm256_fmadd_ps(value, tail, sum[NV - 1]);
  }
#pragma GCC unroll 16
  for (int k = 0; k < NV - 1; ++k) _mm256_storeu_ps(y + 8 * k, sum[k]);
  if (NV > 1) _mm256_storeu_ps(y + last, sum[NV - 1]);
  else _mm256_maskstore_ps(y, mask, sum[0]);
}

using Rows = void (*)(const Csr&, const float*, const float*, int64_t, float*, int64_t, int64_t);

template <int NV>
SG_AVX2 void rows_avx2(const Csr& csr, const float* values, const float* x, int64_t channels, float* y, int64_t begin,
                       int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    tile_avx2<NV>(csr, values, x, channels, channels, y + i * channels, csr.indptr[i], csr.indptr[i + 1]);
  }
}

// More columns than registers: tiles of kTileVectors, the last of NV vectors. A row's tiles follow each other, so its
// indices and values come from the first-level cache but once.
template <int NV>
SG_AVX2 void tiled_rows_avx2(const Csr& csr, const float* values, const float* x, int64_t channels, float* y,
                             int64_t begin, int64_t end) {
  constexpr int64_t kWidth = 8 * kTileVectors;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t first = csr.indptr[i], past = csr.indptr[i + 1];
    int64_t c = 0;
    for (; c + kWidth < channels; c += kWidth) {
      tile_avx2<kTileVectors>(csr, values, x + c, channels, kWidth, y + i * channels + c, first, past);
    }
    tile_avx2<NV>(csr, values, x + c, channels, channels - c, y + i * channels + c, first, past);
  }
}

Rows pick_rows(int64_t channels) {
  static constexpr Rows whole[kMostVectors] = {rows_avx2<1>,  rows_avx2<2>,  rows_avx2<3>, rows_avx2<4>, rows_avx2<5>,
                                               rows_avx2<6>,  rows_avx2<7>,  rows_avx2<8>, rows_avx2<9>, rows_avx2<10>,
                                               rows_avx2<11>, rows_avx2<12>, rows_avx2<13>};
  static constexpr Rows tiled[kTileVectors] = {tiled_rows_avx2<1>, tiled_rows_avx2<2>, tiled_rows_avx2<3>,
                                               tiled_rows_avx2<4>, tiled_rows_avx2<5>, tiled_rows_avx2<6>,
                                               tiled_rows_avx2<7>, tiled_rows_avx2<8>};
  const int64_t vectors = (channels + 7) / 8;
  if (vectors <= kMostVectors) return whole[vectors - 1];
  return tiled[(vectors - 1) % kTileVectors];
}

#endif

template <class T>
void spmm(const Csr& csr, const T* values, const T* x, int64_t channels, T* y, bool check) {
  for_each_rows(kOp, csr, kLeastWork, check,
                [&](int64_t begin, int64_t end) { rows_portable<T>(csr, values, x, channels, y, begin, end); });
}

template <>
void spmm<float>(const Csr& csr, const float* values, const float* x, int64_t channels, float* y, bool check) {
#ifdef SG_X86
  if (has_avx2() && channels > 0) {
    const Rows rows = pick_rows(channels);
    for_each_rows(kOp, csr, kLeastWork, check,
                  [&](int64_t begin, int64_t end) { rows(csr, values, x, channels, y, begin, end); });
    return;
  }
#endif
  for_each_rows(kOp, csr, kLeastWork, check,
                [&](int64_t begin, int64_t end) { rows_portable<float>(csr, values, x, channels, y, begin, end); });
}

Tensor csr_spmm(const Tensor& indptr, const Tensor& indices, const Tensor& values, const Tensor& x, bool check) {
  const ScalarType type = check_floating(kOp, "x", x);
  check_tensor(kOp, "x", x, 2, type);
  const Csr csr = check_csr(kOp, indptr, indices, x.size(0));
  check_values(kOp, values, csr, type);
  const int64_t channels = x.size(1);
  Tensor y = torch::stable::new_empty(x, {csr.rows, channels});
  if (type == ScalarType::Float) {
    spmm<float>(csr, values.const_data_ptr<float>(), x.const_data_ptr<float>(), channels, y.mutable_data_ptr<float>(),
                check);
  } else {
    spmm<double>(csr, values.const_data_ptr<double>(), x.const_data_ptr<double>(), channels,
                 y.mutable_data_ptr<double>(), check);
  }
  return y;
}

}  // namespace
}  // namespace sg

STABLE_TORCH_LIBRARY_IMPL(spectral_graph, CPU, m) { m.impl("csr_spmm", TORCH_BOX(&sg::csr_spmm)); }
