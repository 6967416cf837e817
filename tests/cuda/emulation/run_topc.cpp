// topc_affinity, without the product, and topc_merge.

#include "cuda/topc_merge.cuh"
#include "cuda/topc_select.cuh"
#include "driver.h"

namespace {

using namespace sg::cuda;

// The two lists of every row -> indptr, indices, values
void write_lists(int64_t rows, int64_t left, int64_t right, const Array& first, const Array& second, Arrays& out) {
  const Array counts = Array::unset<int64_t>(rows);
  launch_topc_count("test", rows, left, right, first.as<uint64_t>(), second.as<uint64_t>(), counts.as<int64_t>(),
                    nullptr);
  out.push_back(Array::zeros<int64_t>(rows + 1));
  int64_t* indptr = out[0].as<int64_t>();
  for (int64_t i = 0; i < rows; ++i) indptr[i + 1] = indptr[i] + counts.as<int64_t>()[i];
  out.push_back(Array::unset<int32_t>(indptr[rows]));
  out.push_back(Array::unset<float>(indptr[rows]));
  launch_topc_write("test", rows, left, right, first.as<uint64_t>(), second.as<uint64_t>(), indptr,
                    out[1].as<int32_t>(), out[2].as<float>(), nullptr);
}

// scores, image_ptr, [c_intra, c_inter, rows of a block, columns of a block], [threshold] -> indptr, indices, values
void topc(const Arrays& in, Arrays& out) {
  const int64_t images = in[1].count<int64_t>() - 1;
  const int64_t nodes = in[1].as<int64_t>()[images];
  const int64_t* n = in[2].as<int64_t>();
  const Array intra = Array::zeros<uint64_t>(nodes * n[0]), inter = Array::zeros<uint64_t>(nodes * n[1]);
  for (int64_t row = 0; row < nodes; row += n[2]) {
    for (int64_t column = 0; column < nodes; column += n[3]) {
      const int64_t rows = std::min(n[2], nodes - row), columns = std::min(n[3], nodes - column);
      const Array scores(sizeof(float) * rows * columns);
      for (int64_t i = 0; i < rows; ++i) {
        std::copy_n(in[0].as<float>() + (row + i) * nodes + column, columns, scores.as<float>() + i * columns);
      }
      const ScoreBlock block{scores.as<float>(), rows, columns, row, column};
      for (const bool inside : {true, false}) {
        launch_topc_select(block, images, in[1].as<int64_t>(), inside, n[inside ? 0 : 1], in[3].as<float>()[0],
                           (inside ? intra : inter).as<uint64_t>(), nullptr);
      }
    }
  }
  write_lists(nodes, n[0], n[1], intra, inter, out);
}

// [places], then indptr, indices, values of each list -> indptr, indices, values
void merge(const Arrays& in, Arrays& out) {
  const int64_t places = in[0].as<int64_t>()[0], rows = in[1].count<int64_t>() - 1;
  const Array kept = Array::zeros<uint64_t>(rows * places), none = Array::zeros<uint64_t>(0);
  for (size_t first = 1; first < in.size(); first += 3 * kMergeLists) {
    CandidateLists lists{};
    for (size_t at = first; at < in.size() && lists.count < kMergeLists; at += 3) {
      lists.indptr[lists.count] = in[at].as<int64_t>();
      lists.indices[lists.count] = in[at + 1].as<int32_t>();
      lists.values[lists.count++] = in[at + 2].as<float>();
    }
    launch_topc_merge(rows, lists, places, kept.as<uint64_t>(), nullptr);
  }
  write_lists(rows, places, 0, kept, none, out);
}

const Entry entries[] = {{"topc", topc}, {"topc_merge", merge}};

}  // namespace
