// unit_project: rows centred and scaled to unit norm, and their projection onto a basis, in one pass.

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "cpu/affinity/projection.h"
#include "cpu/core/half.h"
#include "cpu/core/parallel.h"
#include "cpu/affinity/squared_norm.h"
#include "cpu/core/torch_api.h"

namespace sg {
namespace {

constexpr const char* kOp = "unit_project";
constexpr int64_t kTaskRows = 192;

// Returns NaN for a row with NaN or infinity, 0 for one whose norm is below the smallest normal float32.
float inverse_of(double squared_norm) {
  if (!(squared_norm <= std::numeric_limits<double>::max())) return std::numeric_limits<float>::quiet_NaN();
  const double norm = std::sqrt(squared_norm);
  return norm < static_cast<double>(std::numeric_limits<float>::min()) ? 0.0f : static_cast<float>(1.0 / norm);
}

std::tuple<Tensor, Tensor, Tensor> unit_project(const Tensor& rows, const Tensor& mean, const Tensor& basis) {
  const HalfOrFloat matrix = check_half_or_float(kOp, "rows", rows);
  check_tensor(kOp, "mean", mean, 1, ScalarType::Float);
  check_tensor(kOp, "basis", basis, 2, ScalarType::Float);
  const int64_t depth = matrix.depth, width = basis.size(1);
  SG_CHECK(mean.numel() == depth, kOp, "mean must have as many elements as rows has columns, ", depth, ", got ",
           mean.numel());
  SG_CHECK(basis.size(0) == depth, kOp, "basis must have as many rows as rows has columns, ", depth, ", got ",
           basis.size(0));
  Tensor unit = torch::stable::new_empty(mean, {matrix.rows, depth});
  Tensor inverse = torch::stable::new_empty(mean, {matrix.rows});
  Tensor projected = torch::stable::new_empty(mean, {matrix.rows, width});
  const float* centre = mean.const_data_ptr<float>();
  const float* directions = basis.const_data_ptr<float>();
  float* out = unit.mutable_data_ptr<float>();
  float* inverses = inverse.mutable_data_ptr<float>();
  float* coordinates = projected.mutable_data_ptr<float>();
  const Projection packed(depth, width, [&](int64_t k, int64_t j) { return directions[k * width + j]; });
  for_each_task((matrix.rows + kTaskRows - 1) / kTaskRows, [&](int64_t task) {
    std::vector<float> buffer(static_cast<size_t>(depth));
    const int64_t first = task * kTaskRows, past = std::min(matrix.rows, first + kTaskRows);
    for (int64_t i = first; i < past; ++i) {
      const float* from = matrix.row(i, buffer.data());
      float* to = out + i * depth;
      for (int64_t k = 0; k < depth; ++k) to[k] = from[k] - centre[k];
      const float scale = inverses[i] = inverse_of(squared_norm(to, depth));
      for (int64_t k = 0; k < depth; ++k) to[k] *= scale;
    }
    packed.project(out + first * depth, past - first, coordinates + first * width, width);
  });
  return {unit, inverse, projected};
}

}  // namespace
}  // namespace sg

STABLE_TORCH_LIBRARY_IMPL(spectral_graph, CPU, m) { m.impl("unit_project", TORCH_BOX(&sg::unit_project)); }
