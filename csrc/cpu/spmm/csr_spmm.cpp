// csr_spmm: y = A x for a sparse A in CSR and a dense x of few columns.

#include "cpu/core/csr.h"
#include "cpu/spmm/long_rows.h"
#include "cpu/core/pages.h"
#include "cpu/spmm/spmm_bf16.h"
#include "cpu/spmm/spmm_rows.h"
#include "cpu/core/torch_api.h"

namespace sg {
namespace {

constexpr const char* kOp = "csr_spmm";

ScalarType check_x(const Tensor& x) {
  const ScalarType type = x.scalar_type();
  SG_CHECK(type == ScalarType::Float || type == ScalarType::Double || type == ScalarType::BFloat16, kOp,
           "x must be float32, float64 or bfloat16, got ", dtype_name(type));
  check_tensor(kOp, "x", x, 2, type);
  return type;
}

Tensor csr_spmm(const Tensor& indptr, const Tensor& indices, const Tensor& values, const Tensor& x, bool check) {
  const ScalarType type = check_x(x);
  const ScalarType result = type == ScalarType::Double ? type : ScalarType::Float;
  const Csr csr = check_csr(kOp, indptr, indices, x.size(0));
  check_values(kOp, values, csr, result);
  const int64_t channels = x.size(1);
  Tensor y = new_result(x, {csr.rows, channels}, result);
  const auto multiply = [&](const auto rows, const auto* stored, const auto* in, auto* out) {
    multiply_rows(kOp, csr, channels, out, least_work(channels), check,
                  [&](const Csr& part, auto* to, int64_t begin, int64_t end) {
                    rows(part, {stored}, in, channels, to, begin, end);
                  });
  };
  if (type == ScalarType::Double) {
    multiply(rows_portable<double, StoredEntries<double>>, values.const_data_ptr<double>(),
             x.const_data_ptr<double>(), y.mutable_data_ptr<double>());
    return y;
  }
  const float* stored = values.const_data_ptr<float>();
  float* out = y.mutable_data_ptr<float>();
  const auto rows = choose_rows<StoredEntries<float>>(csr.columns, channels);
  if (type == ScalarType::Float) {
    multiply(rows, stored, x.const_data_ptr<float>(), out);
    return y;
  }
  const auto* in = static_cast<const uint16_t*>(x.const_data_ptr());
  if (widened_first(csr.columns, channels)) {
    Scratch<float> wide(x.numel());
    widen_all(in, x.numel(), wide.data());
    multiply(rows, stored, wide.data(), out);
  } else {
    multiply(choose_rows_bf16(channels), stored, in, out);
  }
  return y;
}

}  // namespace
}  // namespace sg

STABLE_TORCH_LIBRARY_IMPL(spectral_graph, CPU, m) { m.impl("csr_spmm", TORCH_BOX(&sg::csr_spmm)); }
