// topc_affinity: the c best neighbours of every node inside and outside its image, fused with the matrix product.
//
// A 6 x 16 tile of query . key^T stays in registers and is stored only where one of its values may enter a list. Keys
// are packed image by image into slivers of 16 columns, and strips of rows end at images too, so a tile covers one pair
// of images. With symmetric = true only tiles with a pair i < j are computed, and each value is offered to the lists of
// both nodes.

#include <tuple>
#include <vector>

#include "cpu/affinity/affinity_search.h"
#include "cpu/affinity/affinity_sweep.h"
#include "cpu/core/checks.h"
#include "cpu/affinity/pair_queue.h"
#include "cpu/core/parallel.h"
#include "cpu/core/torch_api.h"

namespace sg {
namespace {

constexpr const char* kOp = "topc_affinity";
constexpr int64_t kMostGroupNodes = 1024;  // symmetric: nodes of a group; a task is a pair of groups
constexpr int64_t kLeastGroupNodes = 128;

// Every task owns the lists of one block of rows, so the tasks share no lists.
void search_rows(Search& search, const int64_t* image_ptr, int64_t images, const std::vector<int64_t>& image_slivers) {
  std::vector<Run> strips;
  for (int64_t image = 0; image < images; ++image) {
    cut(image_ptr[image], image_ptr[image + 1], static_cast<int32_t>(image), kTileRows, strips);
  }
  const int64_t all = static_cast<int64_t>(strips.size());
  const int64_t block = std::min(search.strips_of_block(), std::max<int64_t>(1, all / (4 * thread_count())));
  std::vector<int64_t> ends;
  for (size_t b = 1; b <= search.slivers.size(); ++b) ends.push_back(static_cast<int64_t>(b));
  for_each_panel(search, ends, [&](int64_t, int64_t, int64_t past, const Panel& panel) {
    for_each_task((all + block - 1) / block, [&](int64_t task) {
      const int64_t begin = task * block, end = std::min(all, begin + block);
      int64_t low = panel.first, high = past;
      if (!search.inter.keeps_any()) {
        low = std::max(low, image_slivers[strips[begin].image]);
        high = std::min(high, image_slivers[strips[end - 1].image + 1]);
      }
      if (low < high) {
        Sweep(search, panel, false).run(&strips[begin], end - begin, low, high);
      }
    });
  });
}

// Every task writes the lists of two groups of nodes; no two concurrent tasks of the queue share a group.
void search_pairs(Search& search, int64_t nodes) {
  const int64_t group_nodes = std::max(kLeastGroupNodes, std::min(kMostGroupNodes, nodes / (8 * thread_count())));
  const std::vector<Run>& slivers = search.slivers;
  std::vector<int64_t> ends;  // past the last sliver of each group
  std::vector<Run> strips;
  std::vector<int64_t> strip_ends;  // past the last strip of each group
  for (size_t b = 0, held = 0, image_begin = 0; b < slivers.size(); ++b) {
    held += slivers[b].count;
    const bool last = b + 1 == slivers.size();
    const bool group_ends = last || static_cast<int64_t>(held) >= group_nodes;
    if (group_ends || slivers[b + 1].image != slivers[b].image) {
      cut(slivers[image_begin].first, slivers[b].first + slivers[b].count, slivers[b].image, kTileRows, strips);
      image_begin = b + 1;
    }
    if (group_ends) {
      ends.push_back(static_cast<int64_t>(b) + 1);
      strip_ends.push_back(static_cast<int64_t>(strips.size()));
      held = 0;
    }
  }
  const int64_t block = search.strips_of_block();
  const int64_t groups = static_cast<int64_t>(ends.size());
  const auto group_begin = [](const std::vector<int64_t>& past, int64_t group) {
    return group == 0 ? 0 : past[group - 1];
  };
  for_each_panel(search, ends, [&](int64_t begin, int64_t end, int64_t, const Panel& panel) {
    // Ordered by the distance between the groups, consecutive tasks are mostly disjoint.
    std::vector<PairQueue::Pair> pairs;
    for (int64_t distance = 0; distance < end; ++distance) {
      for (int64_t column = std::max(begin, distance); column < end; ++column) {
        const int64_t row = column - distance;
        const bool share_image = slivers[ends[row] - 1].image == slivers[group_begin(ends, column)].image;
        if (search.inter.keeps_any() || share_image || row == column) {
          pairs.emplace_back(static_cast<int32_t>(row), static_cast<int32_t>(column));
        }
      }
    }
    PairQueue queue(std::move(pairs), groups);
    on_workers(thread_count(), [&](int64_t) {
      queue.work([&](int64_t row, int64_t column) {
        const int64_t low = group_begin(ends, column);
        Sweep sweep(search, panel, true);
        for (int64_t s = group_begin(strip_ends, row); s < strip_ends[row]; s += block) {
          sweep.run(&strips[s], std::min(block, strip_ends[row] - s), low, ends[column]);
        }
      });
    });
  });
}

void check_image_ptr(const int64_t* image_ptr, int64_t images, int64_t nodes) {
  SG_CHECK(image_ptr[0] == 0, kOp, "image_ptr must begin with 0, got ", image_ptr[0]);
  for (int64_t i = 0; i < images; ++i) {
    SG_CHECK(image_ptr[i] <= image_ptr[i + 1], kOp, "image_ptr must not decrease, got image_ptr[", i,
             "] = ", image_ptr[i], " and image_ptr[", i + 1, "] = ", image_ptr[i + 1]);
  }
  SG_CHECK(image_ptr[images] == nodes, kOp, "image_ptr must end with the number of nodes, ", nodes, ", got ",
           image_ptr[images]);
}

std::tuple<Tensor, Tensor, Tensor> write_csr(const Search& search, const Tensor& like, int64_t nodes) {
  Tensor indptr = torch::stable::new_empty(like, {nodes + 1}, ScalarType::Long);
  int64_t* starts = indptr.mutable_data_ptr<int64_t>();
  const auto places = [&](const TopLists& lists, int64_t row) { return lists.keeps_any() ? lists.count(row) : 0; };
  starts[0] = 0;
  for (int64_t i = 0; i < nodes; ++i) starts[i + 1] = starts[i] + places(search.intra, i) + places(search.inter, i);
  Tensor indices = torch::stable::new_empty(like, {starts[nodes]}, ScalarType::Int);
  Tensor values = torch::stable::new_empty(like, {starts[nodes]}, ScalarType::Float);
  int32_t* columns = indices.mutable_data_ptr<int32_t>();
  float* weights = values.mutable_data_ptr<float>();
  const int64_t parts = part_count(nodes, 512);
  for_each_task(parts, [&](int64_t part) {
    std::vector<std::pair<int32_t, float>> row;
    for (int64_t i = nodes * part / parts; i < nodes * (part + 1) / parts; ++i) {
      row.clear();
      for (const TopLists* lists : {&search.intra, &search.inter}) {
        for (int64_t p = 0; p < places(*lists, i); ++p) row.emplace_back(lists->column(i, p), lists->value(i, p));
      }
      std::sort(row.begin(), row.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
      for (size_t p = 0; p < row.size(); ++p) {
        columns[starts[i] + p] = row[p].first;
        weights[starts[i] + p] = row[p].second;
      }
    }
  });
  return {indptr, indices, values};
}

std::tuple<Tensor, Tensor, Tensor> topc_affinity(const Tensor& query, const Tensor& key, const Tensor& image_ptr,
                                                 int64_t c_intra, int64_t c_inter, double threshold, bool symmetric) {
  check_tensor(kOp, "query", query, 2, ScalarType::Float);
  check_tensor(kOp, "key", key, 2, ScalarType::Float);
  check_tensor(kOp, "image_ptr", image_ptr, 1, ScalarType::Long);
  const int64_t nodes = query.size(0), depth = query.size(1);
  SG_CHECK(key.size(0) == nodes && key.size(1) == depth, kOp, "key must have the shape of query, ", shape_text(query),
           ", got ", shape_text(key));
  SG_CHECK(nodes <= std::numeric_limits<int32_t>::max(), kOp, "query must have at most 2147483647 rows, got ", nodes);
  SG_CHECK(image_ptr.numel() >= 1, kOp, "image_ptr must have images + 1 elements, got none");
  SG_CHECK(c_intra >= 0, kOp, "c_intra must be at least 0, got ", c_intra);
  SG_CHECK(c_inter >= 0, kOp, "c_inter must be at least 0, got ", c_inter);
  SG_CHECK(threshold >= 0 && threshold <= std::numeric_limits<double>::max(), kOp,
           "threshold must be a finite number of at least 0, got ", threshold);
  const int64_t images = image_ptr.numel() - 1;
  const int64_t* starts = image_ptr.const_data_ptr<int64_t>();
  check_image_ptr(starts, images, nodes);

  std::vector<Run> slivers;
  std::vector<int64_t> image_slivers(static_cast<size_t>(images) + 1, 0);
  int64_t most = 0, least = nodes;
  for (int64_t image = 0; image < images; ++image) {
    cut(starts[image], starts[image + 1], static_cast<int32_t>(image), kTileColumns, slivers);
    image_slivers[image + 1] = static_cast<int64_t>(slivers.size());
    const int64_t size = starts[image + 1] - starts[image];
    most = std::max(most, size);
    if (size > 0) least = std::min(least, size);
  }
  const float bound = static_cast<float>(threshold);
  Search search{query.const_data_ptr<float>(),
                symmetric ? query.const_data_ptr<float>() : key.const_data_ptr<float>(),
                nodes,
                depth,
                std::move(slivers),
                TopLists(nodes, std::min(c_intra, std::max<int64_t>(0, most - 1)), bound),
                TopLists(nodes, std::min(c_inter, nodes - least), bound)};
  if (symmetric) search_pairs(search, nodes);
  else search_rows(search, starts, images, image_slivers);
  return write_csr(search, query, nodes);
}

}  // namespace
}  // namespace sg

STABLE_TORCH_LIBRARY_IMPL(spectral_graph, CPU, m) { m.impl("topc_affinity", TORCH_BOX(&sg::topc_affinity)); }
