// csr_sddmm: a_i . b_j at every stored entry (i, j) of a sparse matrix; the gradient of csr_spmm by its values.

#include "cpu/core/csr.h"
#include "cpu/core/torch_api.h"

namespace sg {
namespace {

constexpr const char* kOp = "csr_sddmm";
constexpr int64_t kLeastWork = 4096;  // entries + rows of a part

// Eight partial sums, so that the compiler can vectorise without changing the order of additions.
template <class T>
T dot(const T* a, const T* b, int64_t count) {
  constexpr int64_t kWidth = 8;
  T sum[kWidth] = {};
  int64_t k = 0;
  for (; k + kWidth <= count; k += kWidth) {
    for (int64_t l = 0; l < kWidth; ++l) sum[l] += a[k + l] * b[k + l];
  }
  T rest = 0;
  for (; k < count; ++k) rest += a[k] * b[k];
  return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7])) + rest;
}

template <class T>
void sddmm(const Csr& csr, const T* a, const T* b, int64_t channels, T* values) {
  for_each_rows(kOp, csr, kLeastWork, true, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t p = csr.indptr[i]; p < csr.indptr[i + 1]; ++p) {
        values[p] = dot(a + i * channels, b + static_cast<int64_t>(csr.indices[p]) * channels, channels);
      }
    }
  });
}

Tensor csr_sddmm(const Tensor& indptr, const Tensor& indices, const Tensor& a, const Tensor& b) {
  const ScalarType type = check_floating(kOp, "a", a);
  check_tensor(kOp, "a", a, 2, type);
  check_tensor(kOp, "b", b, 2, type);
  const int64_t channels = a.size(1);
  SG_CHECK(b.size(1) == channels, kOp, "b must have as many columns as a, ", channels, ", got ", b.size(1));
  const Csr csr = check_csr(kOp, indptr, indices, b.size(0));
  SG_CHECK(a.size(0) == csr.rows, kOp, "a must have as many rows as the matrix, ", csr.rows, ", got ", a.size(0));
  Tensor values = torch::stable::new_empty(a, {csr.entries});
  if (type == ScalarType::Float) {
    sddmm(csr, a.const_data_ptr<float>(), b.const_data_ptr<float>(), channels, values.mutable_data_ptr<float>());
  } else {
    sddmm(csr, a.const_data_ptr<double>(), b.const_data_ptr<double>(), channels, values.mutable_data_ptr<double>());
  }
  return values;
}

}  // namespace
}  // namespace sg

STABLE_TORCH_LIBRARY_IMPL(spectral_graph, CPU, m) { m.impl("csr_sddmm", TORCH_BOX(&sg::csr_sddmm)); }
