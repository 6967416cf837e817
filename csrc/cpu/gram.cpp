// gram: X^T X or X^T Y of tall float32 matrices, in float64.
//
// One thread accumulates each chunk of kChunkRows rows, and the sums of the chunks are added in order: so the result
// does not depend on the number of threads. A batch of chunks at a time bounds the memory for any number of rows.

#include <algorithm>
#include <optional>
#include <vector>

#include "cpu/core/checks.h"
#include "cpu/core/parallel.h"
#include "cpu/core/tile_f64.h"
#include "cpu/core/torch_api.h"

namespace sg {
namespace {

constexpr const char* kOp = "gram";
constexpr int64_t kChunkRows = 1024;
constexpr int64_t kPackedRows = 128;  // rows converted at a time, so that they stay in the second-level cache
constexpr int64_t kBatchBytes = int64_t{32} << 20;

struct Operand {
  const float* data;
  int64_t channels;
  int64_t octets;

  Operand(const Tensor& x)
      : data(x.const_data_ptr<float>()), channels(x.size(1)), octets((x.size(1) + kOctet - 1) / kOctet) {}

  // Rows [begin, begin + count) as slivers of eight columns: [octet][row][8], padded with zeros.
  void pack(int64_t begin, int64_t count, double* packed) const {
    for (int64_t o = 0; o < octets; ++o) {
      const int64_t width = std::min(kOctet, channels - o * kOctet);
      for (int64_t i = 0; i < count; ++i, packed += kOctet) {
        const float* row = data + (begin + i) * channels + o * kOctet;
        for (int64_t c = 0; c < kOctet; ++c) packed[c] = c < width ? static_cast<double>(row[c]) : 0.0;
      }
    }
  }
};

Tensor gram(const Tensor& x, const std::optional<Tensor>& y) {
  check_tensor(kOp, "x", x, 2, ScalarType::Float);
  if (y) {
    check_tensor(kOp, "y", *y, 2, ScalarType::Float);
    SG_CHECK(y->size(0) == x.size(0), kOp, "y must have as many rows as x, ", x.size(0), ", got ", y->size(0));
  }
  const Operand left(x), right(y ? *y : x);
  const bool symmetric = !y;
  const int64_t rows = x.size(0), quads = 2 * left.octets;
  const int64_t sums = quads * right.octets * kTileValues;  // of one chunk: [quad][octet][4][8]
  const int64_t chunks = (rows + kChunkRows - 1) / kChunkRows;
  const int64_t most = kBatchBytes / static_cast<int64_t>(sizeof(double)) / std::max<int64_t>(1, sums);
  const int64_t batch = std::max<int64_t>(1, std::min({chunks, 4 * thread_count(), most}));
  std::vector<double> total(static_cast<size_t>(sums), 0.0), partial(static_cast<size_t>(sums * batch));
  const TileF64 tile = pick_tile_f64();

  const auto sum_chunk = [&](int64_t chunk, double* sum) {
    std::fill(sum, sum + sums, 0.0);
    std::vector<double> a(static_cast<size_t>(left.octets * kPackedRows * kOctet));
    std::vector<double> b(static_cast<size_t>(symmetric ? 0 : right.octets * kPackedRows * kOctet));
    const double* right_packed = symmetric ? a.data() : b.data();
    const int64_t end = std::min(rows, (chunk + 1) * kChunkRows);
    for (int64_t begin = chunk * kChunkRows; begin < end; begin += kPackedRows) {
      const int64_t count = std::min(kPackedRows, end - begin);
      left.pack(begin, count, a.data());
      if (!symmetric) right.pack(begin, count, b.data());
      for (int64_t o = 0; o < right.octets; ++o) {
        const int64_t last_quad = symmetric ? 2 * o + 2 : quads;  // the tiles on and above the diagonal
        for (int64_t q = 0; q < last_quad; ++q) {
          tile(count, a.data() + (q / 2) * count * kOctet + (q % 2) * kQuad, kOctet, right_packed + o * count * kOctet,
               sum + (q * right.octets + o) * kTileValues);
        }
      }
    }
  };

  for (int64_t first = 0; first < chunks; first += batch) {
    const int64_t count = std::min(batch, chunks - first);
    for_each_task(count, [&](int64_t i) { sum_chunk(first + i, partial.data() + i * sums); });
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t s = 0; s < sums; ++s) total[s] += partial[i * sums + s];
    }
  }

  Tensor result = torch::stable::new_empty(x, {left.channels, right.channels}, ScalarType::Double);
  double* out = result.mutable_data_ptr<double>();
  const auto at = [&](int64_t i, int64_t j) {
    const int64_t place = (i / kQuad) * right.octets + j / kOctet;
    return total[place * kTileValues + (i % kQuad) * kOctet + j % kOctet];
  };
  for (int64_t i = 0; i < left.channels; ++i) {
    for (int64_t j = 0; j < right.channels; ++j) {
      out[i * right.channels + j] = symmetric && j < i ? at(j, i) : at(i, j);
    }
  }
  return result;
}

}  // namespace
}  // namespace sg

STABLE_TORCH_LIBRARY_IMPL(spectral_graph, CPU, m) { m.impl("gram", TORCH_BOX(&sg::gram)); }
