// Host side of topc_affinity: products by torch.mm, block by block, and selection among them.
//
// The products are those of cuBLAS: they may differ from the CPU's in the last bits, and from call to call of different
// shapes. torch.backends.cuda.matmul.allow_tf32 applies to them. `symmetric` saves nothing here.

#include <tuple>
#include <vector>

#include "cuda/csr_host.h"
#include "cuda/topc_select.cuh"

namespace sg::cuda {
namespace {

constexpr const char* kOp = kTopcOp;
#ifndef SG_BLOCK_COLUMNS  // set by the test of many blocks
#define SG_BLOCK_COLUMNS (int64_t{1} << 18)
#define SG_BLOCK_SCORES (int64_t{1} << 25)  // 128 MiB
#endif
constexpr int64_t kBlockColumns = SG_BLOCK_COLUMNS;
constexpr int64_t kBlockScores = SG_BLOCK_SCORES;

struct Lists {
  int64_t places;
  Tensor keys;  // nodes x places, as int64
  uint64_t* data() { return reinterpret_cast<uint64_t*>(keys.mutable_data_ptr<int64_t>()); }
};

void check_starts(const std::vector<int64_t>& starts, int64_t nodes) {
  SG_CHECK(starts.front() == 0, kOp, "image_ptr must begin with 0, got ", starts.front());
  check_ascending(kOp, "image_ptr", starts);
  SG_CHECK(starts.back() == nodes, kOp, "image_ptr must end with the number of nodes, ", nodes, ", got ",
           starts.back());
}

std::tuple<Tensor, Tensor, Tensor> topc_affinity(const Tensor& query, const Tensor& key, const Tensor& image_ptr,
                                                 int64_t c_intra, int64_t c_inter, double threshold, bool) {
  check_device_tensor(kOp, "query", query, 2, ScalarType::Float, query);
  check_device_tensor(kOp, "key", key, 2, ScalarType::Float, query);
  check_device_tensor(kOp, "image_ptr", image_ptr, 1, ScalarType::Long, query);
  const int64_t nodes = query.size(0);
  SG_CHECK(key.size(0) == nodes && key.size(1) == query.size(1), kOp, "key must have the shape of query, ",
           shape_text(query), ", got ", shape_text(key));
  SG_CHECK(nodes <= std::numeric_limits<int32_t>::max(), kOp, "query must have at most 2147483647 rows, got ", nodes);
  SG_CHECK(image_ptr.numel() >= 1, kOp, "image_ptr must have images + 1 elements, got none");
  SG_CHECK(c_intra >= 0, kOp, "c_intra must be at least 0, got ", c_intra);
  SG_CHECK(c_inter >= 0, kOp, "c_inter must be at least 0, got ", c_inter);
  SG_CHECK(threshold >= 0 && threshold <= std::numeric_limits<double>::max(), kOp,
           "threshold must be a finite number of at least 0, got ", threshold);
  const OnDevice device(query);
  const int64_t images = image_ptr.numel() - 1;
  const int64_t* image_starts = image_ptr.const_data_ptr<int64_t>();
  std::vector<int64_t> starts(static_cast<size_t>(images) + 1);
  device.read(kOp, image_starts, starts.data(), images + 1);
  check_starts(starts, nodes);
  int64_t most = 0, least = nodes;
  for (int64_t i = 0; i < images; ++i) {
    const int64_t size = starts[i + 1] - starts[i];
    most = std::max(most, size);
    if (size > 0) least = std::min(least, size);
  }
  const auto make_lists = [&](const char* name, int64_t places) {
    SG_CHECK(places <= kMostPlaces, kOp, name, " must be at most ", kMostPlaces, " on a GPU, got ", places,
             "; move the arguments to the CPU for more");
    return Lists{places, torch::stable::new_zeros(image_ptr, {nodes, places})};
  };
  Lists intra = make_lists("c_intra", std::min(c_intra, std::max<int64_t>(0, most - 1)));
  Lists inter = make_lists("c_inter", std::min(c_inter, nodes - least));

  const int64_t columns = std::min(nodes, kBlockColumns);
  const int64_t rows = columns == 0 ? 0 : std::min(nodes, std::max<int64_t>(1, kBlockScores / columns));
  for (int64_t column = 0; column < nodes; column += columns) {
    const int64_t width = std::min(columns, nodes - column);
    Tensor keys = torch::stable::narrow(const_cast<Tensor&>(key), 0, column, width);
    const Tensor across = torch::stable::transpose(keys, 0, 1);
    for (int64_t row = 0; row < nodes; row += rows) {
      const int64_t height = std::min(rows, nodes - row);
      Tensor queries = torch::stable::narrow(const_cast<Tensor&>(query), 0, row, height);
      const Tensor scores = torch::stable::contiguous(torch::stable::matmul(queries, across));
      const ScoreBlock block{scores.const_data_ptr<float>(), height, width, row, column};
      for (const bool inside : {true, false}) {
        Lists& lists = inside ? intra : inter;
        launch_topc_select(block, images, image_starts, inside, lists.places, static_cast<float>(threshold),
                           lists.data(), device.stream());
        check_launch(kOp);
      }
    }
  }

  Tensor counts = torch::stable::new_zeros(image_ptr, {nodes + 1});  // a 0 before the first row
  int64_t* row_counts = counts.mutable_data_ptr<int64_t>() + 1;
  launch_topc_count(kOp, nodes, intra.places, inter.places, intra.data(), inter.data(), row_counts,
                    device.stream());
  check_launch(kOp);
  Tensor indptr = cumulative(counts);
  const int64_t entries = device.read_one(kOp, indptr.const_data_ptr<int64_t>() + nodes);
  Tensor indices = torch::stable::new_empty(query, {entries}, ScalarType::Int);
  Tensor values = torch::stable::new_empty(query, {entries});
  launch_topc_write(kOp, nodes, intra.places, inter.places, intra.data(), inter.data(),
                    indptr.const_data_ptr<int64_t>(), indices.mutable_data_ptr<int32_t>(),
                    values.mutable_data_ptr<float>(), device.stream());
  check_launch(kOp);
  return {indptr, indices, values};
}

}  // namespace
}  // namespace sg::cuda

SG_CUDA_OPERATOR(topc_affinity)
