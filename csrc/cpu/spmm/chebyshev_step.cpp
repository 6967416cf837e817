// chebyshev_step_: y = gain A x + shift own + keep y, in one pass over y.
//
// A buffer that fits in the first-level cache holds a few rows of A x at a time, so the product is never in memory.

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/core/csr.h"
#include "cpu/spmm/spmm_rows.h"
#include "cpu/core/torch_api.h"

namespace sg {
namespace {

constexpr const char* kOp = "chebyshev_step_";
constexpr int64_t kBufferFloats = 1024;  // target size
constexpr int64_t kLeastBufferRows = 16;
constexpr int64_t kLineFloats = 16;

struct Factors {
  float gain, shift, keep;
};

using Combine = void (*)(const float* product, const float* own, float* y, int64_t count, const Factors&);

// With keep 0 y is not read, so it may be uninitialised. The remainder after the vectors uses the same operations as
// the vectors, so the bits do not depend on where the rows are cut.
void combine_portable(const float* product, const float* own, float* y, int64_t count, const Factors& by) {
  for (int64_t k = 0; k < count; ++k) {
    const float kept = by.keep == 0.0f ? 0.0f : by.keep * y[k];
    y[k] = by.gain * product[k] + (by.shift * own[k] + kept);
  }
}

#ifdef SG_X86
SG_AVX2 void combine_avx2(const float* product, const float* own, float* y, int64_t count, const Factors& by) {
  const __m256 gain = _mm256_set1_ps(by.gain), shift = _mm256_set1_ps(by.shift), keep = _mm256_set1_ps(by.keep);
  const bool kept = by.keep != 0.0f;
  int64_t k = 0;
  for (; k + 8 <= count; k += 8) {
    __m256 sum = kept ? _mm256_mul_ps(keep, _mm256_loadu_ps(y + k)) : _mm256_setzero_ps();
    sum = _mm256_fmadd_ps(shift, _mm256_loadu_ps(own + k), sum);
    _mm256_storeu_ps(y + k, _mm256_fmadd_ps(gain, _mm256_loadu_ps(product + k), sum));
  }
  for (; k < count; ++k) {
    y[k] = std::fma(by.gain, product[k], std::fma(by.shift, own[k], kept ? by.keep * y[k] : 0.0f));
  }
}
#endif

Combine choose_combine() {
#ifdef SG_X86
  if (has_avx2()) return combine_avx2;
#endif
  return combine_portable;
}

void check_rows(const char* name, const Tensor& tensor, int64_t rows, int64_t channels) {
  check_tensor(kOp, name, tensor, 2, ScalarType::Float);
  SG_CHECK(tensor.size(0) == rows && tensor.size(1) == channels, kOp, name, " must have the shape of A x, (", rows,
           ", ", channels, "), got ", shape_text(tensor));
}

void chebyshev_step(const Tensor& indptr, const Tensor& indices, const Tensor& values, const Tensor& x,
                    const Tensor& own, const Tensor& y, double gain, double shift, double keep, bool check) {
  check_tensor(kOp, "x", x, 2, ScalarType::Float);
  const Csr csr = check_csr(kOp, indptr, indices, x.size(0));
  check_values(kOp, values, csr, ScalarType::Float);
  const int64_t channels = x.size(1);
  check_rows("own", own, csr.rows, channels);
  check_rows("y", y, csr.rows, channels);
  const StoredEntries<float> stored{values.const_data_ptr<float>()};
  const float* in = x.const_data_ptr<float>();
  const float* from = own.const_data_ptr<float>();
  float* out = y.mutable_data_ptr<float>();
  const Factors by{static_cast<float>(gain), static_cast<float>(shift), static_cast<float>(keep)};
  const auto multiply = choose_rows<StoredEntries<float>>(csr.columns, channels);
  const Combine combine = choose_combine();
  const int64_t buffer_rows = std::max(kLeastBufferRows, kBufferFloats / std::max<int64_t>(1, channels));
  for_each_rows(kOp, csr, least_work(channels), check, [&](int64_t begin, int64_t end) {
    std::vector<float> product(static_cast<size_t>(std::min(buffer_rows, end - begin) * channels));
    for (int64_t first = begin; first < end; first += buffer_rows) {
      const int64_t count = std::min(buffer_rows, end - first);
      // All threads read the next rows of y as x of the previous step, so other cores hold their lines too.
      const int64_t next = first + count, past = std::min(next + buffer_rows, end);
      for (const float* at = out + next * channels; at < out + past * channels; at += kLineFloats) prefetch_to_write(at);
      const Csr part{csr.indptr + first, csr.indices, count, csr.columns, csr.entries};
      multiply(part, stored, in, channels, product.data(), 0, count);
      combine(product.data(), from + first * channels, out + first * channels, count * channels, by);
    }
  });
}

}  // namespace
}  // namespace sg

STABLE_TORCH_LIBRARY_IMPL(spectral_graph, CPU, m) { m.impl("chebyshev_step_", TORCH_BOX(&sg::chebyshev_step)); }
