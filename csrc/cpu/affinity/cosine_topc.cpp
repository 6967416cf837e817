// cosine_topc: the c best candidates of each query by exact cosine (re-ranking).

#include <algorithm>
#include <limits>
#include <tuple>
#include <vector>

#include "cpu/core/half.h"
#include "cpu/core/parallel.h"
#include "cpu/core/torch_api.h"

namespace sg {
namespace {

constexpr const char* kOp = "cosine_topc";
constexpr int64_t kLeastTask = 64;

// Returns query . ((row - mean) * scale). Each element is rounded as in unit_project and accumulated in one of 32
// chains by its position, so that (i, j) and (j, i) have the same bits.
float cosine_portable(const float* query, const float* row, const float* mean, float scale, int64_t depth) {
  constexpr int64_t kChains = 32;
  float sum[kChains] = {};
  for (int64_t k = 0; k < depth; ++k) {
    const float unit = (row[k] - mean[k]) * scale;
    sum[k % kChains] += query[k] * unit;
  }
  for (int64_t width = kChains / 2; width > 0; width /= 2) {
    for (int64_t l = 0; l < width; ++l) sum[l] += sum[l + width];
  }
  return sum[0];
}

#ifdef SG_X86

template <bool kHalf>
SG_F16C inline __m256 load(const void* row, int64_t k) {
  if (!kHalf) return _mm256_loadu_ps(static_cast<const float*>(row) + k);
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(static_cast<const uint16_t*>(row) + k)));
}

template <bool kHalf>
SG_F16C float cosine_f16c(const float* query, const void* row, const float* mean, float scale, int64_t depth) {
  const __m256 scales = _mm256_set1_ps(scale);
  __m256 sum[4];
#pragma GCC unroll 4
  for (int l = 0; l < 4; ++l) sum[l] = _mm256_setzero_ps();
  const auto add = [&](int64_t k, __m256 to) SG_F16C {
    const __m256 unit = _mm256_mul_ps(_mm256_sub_ps(load<kHalf>(row, k), _mm256_loadu_ps(mean + k)), scales);
    return _mm256_fmadd_ps(_mm256_loadu_ps(query + k), unit, to);
  };
  int64_t k = 0;
  for (; k + 32 <= depth; k += 32) {
#pragma GCC unroll 4
    for (int l = 0; l < 4; ++l) sum[l] = add(k + 8 * l, sum[l]);
  }
  for (int l = 0; k + 8 <= depth; k += 8, ++l) sum[l] = add(k, sum[l]);
  alignas(32) float parts[8];
  _mm256_store_ps(parts, _mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
  float total = ((parts[0] + parts[4]) + (parts[1] + parts[5])) + ((parts[2] + parts[6]) + (parts[3] + parts[7]));
  for (; k < depth; ++k) {
    const float value = kHalf ? half_to_float(static_cast<const uint16_t*>(row)[k]) : static_cast<const float*>(row)[k];
    total += query[k] * ((value - mean[k]) * scale);
  }
  return total;
}

#endif

float cosine(const float* query, const HalfOrFloat& rows, int64_t i, const float* mean, float scale, float* buffer) {
#ifdef SG_X86
  if (has_f16c()) {
    if (rows.half != nullptr) return cosine_f16c<true>(query, rows.half + i * rows.depth, mean, scale, rows.depth);
    return cosine_f16c<false>(query, rows.full + i * rows.depth, mean, scale, rows.depth);
  }
#endif
  return cosine_portable(query, rows.row(i, buffer), mean, scale, rows.depth);
}

std::tuple<Tensor, Tensor> cosine_topc(const Tensor& query, const Tensor& rows, const Tensor& mean,
                                       const Tensor& inverse_norm, const Tensor& node, const Tensor& candidates,
                                       int64_t c, double threshold) {
  check_tensor(kOp, "query", query, 2, ScalarType::Float);
  const HalfOrFloat matrix = check_half_or_float(kOp, "rows", rows);
  check_tensor(kOp, "mean", mean, 1, ScalarType::Float);
  check_tensor(kOp, "inverse_norm", inverse_norm, 1, ScalarType::Float);
  check_tensor(kOp, "node", node, 1, ScalarType::Int);
  check_tensor(kOp, "candidates", candidates, 2, ScalarType::Int);
  const int64_t queries = query.size(0), depth = query.size(1), most = candidates.size(1);
  SG_CHECK(matrix.depth == depth, kOp, "rows must have as many columns as query, ", depth, ", got ", matrix.depth);
  SG_CHECK(mean.numel() == depth, kOp, "mean must have as many elements as query has columns, ", depth, ", got ",
           mean.numel());
  SG_CHECK(inverse_norm.numel() == matrix.rows, kOp, "inverse_norm must have an element for every row, ", matrix.rows,
           ", got ", inverse_norm.numel());
  SG_CHECK(node.numel() == matrix.rows, kOp, "node must have an element for every row, ", matrix.rows, ", got ",
           node.numel());
  SG_CHECK(candidates.size(0) == queries, kOp, "candidates must have a row for every query, ", queries, ", got ",
           candidates.size(0));
  SG_CHECK(c >= 0, kOp, "c must be at least 0, got ", c);
  SG_CHECK(threshold >= 0 && threshold <= std::numeric_limits<double>::max(), kOp,
           "threshold must be a finite number of at least 0, got ", threshold);
  const int32_t* candidate = candidates.const_data_ptr<int32_t>();
  for (int64_t p = 0; p < queries * most; ++p) {
    SG_CHECK(candidate[p] < matrix.rows, kOp, "candidates must be below the number of rows, ", matrix.rows, ", got ",
             candidate[p]);
  }
  Tensor columns = torch::stable::new_empty(candidates, {queries, c});
  Tensor values = torch::stable::new_empty(query, {queries, c});
  const float* from = query.const_data_ptr<float>();
  const float* centre = mean.const_data_ptr<float>();
  const float* scale = inverse_norm.const_data_ptr<float>();
  const int32_t* name = node.const_data_ptr<int32_t>();
  int32_t* out_columns = columns.mutable_data_ptr<int32_t>();
  float* out_values = values.mutable_data_ptr<float>();
  const float bound = static_cast<float>(threshold);
  const int64_t parts = part_count(queries, kLeastTask);
  for_each_task(parts, [&](int64_t part) {
    std::vector<float> buffer(static_cast<size_t>(depth));
    std::vector<std::pair<float, int32_t>> found;
    const auto better = [](const auto& a, const auto& b) {
      return a.first > b.first || (a.first == b.first && a.second < b.second);
    };
    for (int64_t i = queries * part / parts; i < queries * (part + 1) / parts; ++i) {
      found.clear();
      for (int64_t p = 0; p < most; ++p) {
        const int64_t at = candidate[i * most + p];
        if (p + 1 < most && candidate[i * most + p + 1] >= 0) matrix.prefetch(candidate[i * most + p + 1]);
        if (at < 0) continue;
        const float value = cosine(from + i * depth, matrix, at, centre, scale[at], buffer.data());
        if (value > 0.0f && value >= bound) found.emplace_back(value, name[at]);
      }
      const int64_t kept = std::min<int64_t>(c, static_cast<int64_t>(found.size()));
      std::partial_sort(found.begin(), found.begin() + kept, found.end(), better);
      for (int64_t p = 0; p < c; ++p) {
        out_columns[i * c + p] = p < kept ? found[p].second : -1;
        out_values[i * c + p] = p < kept ? found[p].first : 0.0f;
      }
    }
  });
  return {columns, values};
}

}  // namespace
}  // namespace sg

STABLE_TORCH_LIBRARY_IMPL(spectral_graph, CPU, m) { m.impl("cosine_topc", TORCH_BOX(&sg::cosine_topc)); }
