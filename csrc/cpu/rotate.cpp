// rotate: X U of a tall float32 X and a small float64 U, accumulated in float64 and rounded once.

#include <algorithm>
#include <vector>

#include "cpu/core/checks.h"
#include "cpu/core/pages.h"
#include "cpu/core/parallel.h"
#include "cpu/core/tile_f64.h"
#include "cpu/core/torch_api.h"

namespace sg {
namespace {

constexpr const char* kOp = "rotate";
constexpr int64_t kTaskRows = 256;

Tensor rotate(const Tensor& x, const Tensor& u) {
  check_tensor(kOp, "x", x, 2, ScalarType::Float);
  check_tensor(kOp, "u", u, 2, ScalarType::Double);
  const int64_t rows = x.size(0), channels = x.size(1), width = u.size(1);
  SG_CHECK(u.size(0) == channels, kOp, "u must have as many rows as x has columns, ", channels, ", got ", u.size(0));
  const int64_t octets = (width + kOctet - 1) / kOctet;
  std::vector<double> slivers(static_cast<size_t>(octets * channels * kOctet), 0.0);  // [octet][channel][8]
  const double* basis = u.const_data_ptr<double>();
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t k = 0; k < width; ++k)
      slivers[(k / kOctet * channels + c) * kOctet + k % kOctet] = basis[c * width + k];
  }
  Tensor result = new_result(x, {rows, width});
  const float* in = x.const_data_ptr<float>();
  float* out = result.mutable_data_ptr<float>();
  const TileF64 tile = pick_tile_f64();
  for_each_task((rows + kTaskRows - 1) / kTaskRows, [&](int64_t task) {
    std::vector<double> quad(static_cast<size_t>(channels * kQuad));  // [channel][4]
    const int64_t end = std::min(rows, (task + 1) * kTaskRows);
    for (int64_t begin = task * kTaskRows; begin < end; begin += kQuad) {
      const int64_t count = std::min(kQuad, end - begin);
      for (int64_t r = 0; r < kQuad; ++r) {
        const float* row = in + (begin + std::min(r, count - 1)) * channels;
        for (int64_t c = 0; c < channels; ++c) quad[c * kQuad + r] = static_cast<double>(row[c]);
      }
      for (int64_t o = 0; o < octets; ++o) {
        double sum[kTileValues] = {};
        tile(channels, quad.data(), kQuad, slivers.data() + o * channels * kOctet, sum);
        for (int64_t r = 0; r < count; ++r) {
          float* to = out + (begin + r) * width + o * kOctet;
          for (int64_t k = 0; k < std::min(kOctet, width - o * kOctet); ++k) {
            to[k] = static_cast<float>(sum[r * kOctet + k]);
          }
        }
      }
    }
  });
  return result;
}

}  // namespace
}  // namespace sg

STABLE_TORCH_LIBRARY_IMPL(spectral_graph, CPU, m) { m.impl("rotate", TORCH_BOX(&sg::rotate)); }
