// rayleigh: s = diag(u^T D^-1 A u) and its gradient (D^-1 A + A D^-1) u for a symmetric A, in one pass over A.
//
// Row i of the gradient is the sum over j of a_ij (d_i + d_j) u_j, with d = 1 / D: one sum for both terms. Since A is
// symmetric, u_c . gradient_c = 2 s_c, so the finished row yields the value too.

#include <tuple>
#include <vector>

#include "cpu/core/csr.h"
#include "cpu/core/pages.h"
#include "cpu/spmm/spmm_rows.h"
#include "cpu/core/torch_api.h"

namespace sg {
namespace {

constexpr const char* kOp = "rayleigh";
constexpr int64_t kPartWork = 16384;  // entries + rows of a part
constexpr int64_t kMostParts = 1024;
constexpr int64_t kRows = 16;  // multiplied at a time, so that their result stays in the first-level cache

// a_ij (d_i + d_j)
struct BalancedEntries {
  const float* values;
  const int32_t* indices;
  const float* inverse_degree;

  struct Row {
    const float* values;
    const int32_t* indices;
    const float* inverse_degree;
    float own;

    float operator()(int64_t p) const { return values[p] * (own + inverse_degree[indices[p]]); }
#ifdef SG_X86
    SG_AVX2 __m128 four(int64_t p) const {
      return four_of(_mm_loadu_ps(values + p), _mm_loadu_si128(reinterpret_cast<const __m128i*>(indices + p)));
    }
    SG_AVX2 __m128 four(int64_t p, __m128i mask) const {
      const __m128 four = four_of(_mm_maskload_ps(values + p, mask), _mm_maskload_epi32(indices + p, mask));
      return _mm_and_ps(four, _mm_castsi128_ps(mask));
    }
    SG_AVX2 __m128 four_of(__m128 stored, __m128i columns) const {
      return _mm_mul_ps(stored, _mm_add_ps(_mm_set1_ps(own), gather4(inverse_degree, columns)));
    }
#endif
  };

  Row row(int64_t i) const { return {values, indices, inverse_degree, inverse_degree[i]}; }
};

using AddDots = void (*)(const float*, const float*, int64_t, double*);

// sum[c] += a[c] b[c] in float64, where the product of two floats is exact.
void add_dots_portable(const float* a, const float* b, int64_t count, double* sum) {
  for (int64_t c = 0; c < count; ++c) sum[c] += static_cast<double>(a[c]) * static_cast<double>(b[c]);
}

#ifdef SG_X86
SG_AVX2 void add_dots_avx2(const float* a, const float* b, int64_t count, double* sum) {
  int64_t c = 0;
  for (; c + 4 <= count; c += 4) {
    const __m256d x = _mm256_cvtps_pd(_mm_loadu_ps(a + c)), y = _mm256_cvtps_pd(_mm_loadu_ps(b + c));
    _mm256_storeu_pd(sum + c, _mm256_fmadd_pd(x, y, _mm256_loadu_pd(sum + c)));
  }
  for (; c < count; ++c) sum[c] += static_cast<double>(a[c]) * static_cast<double>(b[c]);
}
#endif

AddDots pick_add_dots() {
#ifdef SG_X86
  if (has_avx2()) return add_dots_avx2;
#endif
  return add_dots_portable;
}

std::tuple<Tensor, Tensor> rayleigh(const Tensor& indptr, const Tensor& indices, const Tensor& values,
                                    const Tensor& inverse_degree, const Tensor& u) {
  check_tensor(kOp, "u", u, 2, ScalarType::Float);
  const int64_t n = u.size(0), channels = u.size(1);
  const Csr csr = check_csr(kOp, indptr, indices, n);
  SG_CHECK(csr.rows == n, kOp, "u must have as many rows as the matrix, ", csr.rows, ", got ", n);
  check_values(kOp, values, csr, ScalarType::Float);
  check_tensor(kOp, "inverse_degree", inverse_degree, 1, ScalarType::Float);
  SG_CHECK(inverse_degree.numel() == n, kOp, "inverse_degree must have as many elements as u has rows, ", n, ", got ",
           inverse_degree.numel());
  Tensor gradient = new_result(u, {n, channels});
  Tensor s = torch::stable::new_empty(u, {channels}, ScalarType::Double);
  const BalancedEntries entries{values.const_data_ptr<float>(), csr.indices, inverse_degree.const_data_ptr<float>()};
  const float* in = u.const_data_ptr<float>();
  float* out = gradient.mutable_data_ptr<float>();
  double* total = s.mutable_data_ptr<double>();
  const Rows<BalancedEntries> rows = choose_rows<BalancedEntries>(n, channels);
  const AddDots add_dots = pick_add_dots();

  // The matrix alone determines the parts, and their sums are added in order: so no bit depends on the threads.
  const int64_t parts = std::max<int64_t>(1, std::min(kMostParts, (csr.entries + n) / kPartWork));
  std::vector<double> sums(static_cast<size_t>(parts * channels), 0.0);
  for_each_part(kOp, csr, cut_rows(csr, parts), true, [&](int64_t part, int64_t begin, int64_t end) {
    double* sum = sums.data() + part * channels;
    for (int64_t next = begin; next < end; next += kRows) {
      const int64_t past = std::min(end, next + kRows);
      rows(csr, entries, in, channels, out, next, past);
      for (int64_t i = next; i < past; ++i) add_dots(in + i * channels, out + i * channels, channels, sum);
    }
  });
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0;
    for (int64_t part = 0; part < parts; ++part) sum += sums[part * channels + c];
    total[c] = 0.5 * sum;
  }
  return {s, gradient};
}

}  // namespace
}  // namespace sg

STABLE_TORCH_LIBRARY_IMPL(spectral_graph, CPU, m) { m.impl("rayleigh", TORCH_BOX(&sg::rayleigh)); }
