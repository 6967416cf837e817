// Upper bounds of dot products by the inequality of Cauchy and Schwarz, from short rows.
//
// With an orthonormal basis P a row v is P a + r, so q . k = a_q . a_k + r_q . r_k, which is at most a_q . a_k + |r_q|
// |r_k|: the dot product of the short rows (a, |r|). Features of a vision model lie close to a subspace of low
// dimension, so an eighth of the multiply-adds rejects most pairs, and a third rejects most of the others. |r| includes
// a margin for all rounding errors: where a bound is below a value, the computed long product is below it too, for any
// basis. The basis determines only how much is saved.

#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cpu/affinity/projection.h"
#include "cpu/affinity/squared_norm.h"

namespace sg {

// A level of bounds: the first coordinates of a row, and the norm of the residual.
struct BoundLevel {
  int64_t coordinates;
  int64_t offset;  // in the short row

  constexpr int64_t depth() const { return coordinates + 1; }
};

// A short row is the residual norm of the coarse level, the coordinates, the residual norm of the fine level.
constexpr BoundLevel kCoarse{31, 0}, kFine{95, 1};
constexpr int64_t kBoundFloats = kFine.coordinates + 2;  // of a row
constexpr int64_t kLeastLong = 256;                      // for shorter rows bounds do not pay,
constexpr int64_t kLeastBounded = 4096;                  // nor for fewer rows
constexpr int64_t kSampleRows = 1024;
constexpr int kPowerSteps = 2;
constexpr double kLeastExplained = 0.75;  // share of the sample's squared norm; below it, bounds prune little

// Rows with a norm outside these limits, or with infinite elements, get an infinite |r|: nothing is pruned.
constexpr double kShortestRow = 1e-15, kLongestRow = 1e15;

class UpperBounds {
 public:
  // Finds a basis for both matrices, (nodes, depth); `worthwhile` returns whether it explains enough.
  UpperBounds(const float* query, const float* key, int64_t nodes, int64_t depth) : depth_(depth) {
    if (depth < kLeastLong || nodes < kLeastBounded) return;
    find(sample(query, key, nodes));
  }

  bool worthwhile() const { return projection_ != nullptr; }

  // Writes the short rows of `count` consecutive rows, kBoundFloats each.
  void write(const float* rows, int64_t count, float* out) const {
    projection_->project(rows, count, out + kFine.offset, kBoundFloats);
    for (int64_t i = 0; i < count; ++i) finish(rows + i * depth_, out + i * kBoundFloats);
  }

 private:
  static constexpr int64_t kCoordinates = kFine.coordinates;

  static bool bounded(double square) {
    return square >= kShortestRow * kShortestRow && square <= kLongestRow * kLongestRow;
  }

  // Returns evenly spaced rows of both matrices, scaled to unit norm; rows outside the limits become zeros.
  std::vector<float> sample(const float* query, const float* key, int64_t nodes) const {
    const int64_t matrices = query == key ? 1 : 2, each = std::min(nodes, kSampleRows / matrices);
    std::vector<float> rows(static_cast<size_t>(matrices * each * depth_), 0.0f);
    for (int64_t i = 0; i < matrices * each; ++i) {
      const float* row = (i < each ? query : key) + (i % each) * nodes / each * depth_;
      const double square = squared_norm(row, depth_);
      if (!bounded(square)) continue;
      const float scale = static_cast<float>(1.0 / std::sqrt(square));
      for (int64_t k = 0; k < depth_; ++k) rows[i * depth_ + k] = scale * row[k];
    }
    return rows;
  }

  // Subspace iteration on the sample's rows X, started with some of them: P becomes an orthonormal basis of X^T X P.
  void find(const std::vector<float>& rows) {
    const int64_t count = static_cast<int64_t>(rows.size()) / depth_;
    std::vector<float> columns(rows.size());
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t k = 0; k < depth_; ++k) columns[k * count + i] = rows[i * depth_ + k];
    }
    std::vector<double> basis(static_cast<size_t>(kCoordinates * depth_));  // [direction][element]
    for (int64_t j = 0; j < kCoordinates; ++j) {
      std::copy_n(rows.data() + j * count / kCoordinates * depth_, depth_, basis.data() + j * depth_);
    }
    int64_t width = orthonormalise(basis, kCoordinates);
    std::vector<float> coordinates(static_cast<size_t>(count * kCoordinates)),
        sums(static_cast<size_t>(depth_ * kCoordinates));
    for (int step = 0; step < kPowerSteps && width > 0; ++step) {
      as_projection(basis, width).project(rows.data(), count, coordinates.data(), width);
      const Projection weights(count, width, [&](int64_t i, int64_t j) { return coordinates[i * width + j]; });
      weights.project(columns.data(), depth_, sums.data(), width);
      for (int64_t j = 0; j < width; ++j) {
        for (int64_t k = 0; k < depth_; ++k) basis[j * depth_ + k] = static_cast<double>(sums[k * width + j]);
      }
      width = orthonormalise(basis, width);
    }
    if (width == 0) return;
    auto found = std::make_unique<Projection>(as_projection(basis, width));
    found->project(rows.data(), count, coordinates.data(), width);
    const double explained = squared_norm(coordinates.data(), count * width);
    if (!(explained >= kLeastExplained * squared_norm(rows.data(), count * depth_))) return;
    projection_ = std::move(found);
    set_margin(basis, width);
  }

  Projection as_projection(const std::vector<double>& basis, int64_t width) const {
    return Projection(depth_, width, [&](int64_t k, int64_t j) { return static_cast<float>(basis[j * depth_ + k]); });
  }

  // Gram-Schmidt orthonormalisation, with each projection repeated once. Drops linearly dependent directions and
  // returns the number of the others.
  int64_t orthonormalise(std::vector<double>& basis, int64_t count) const {
    int64_t kept = 0;
    for (int64_t j = 0; j < count; ++j) {
      double* direction = basis.data() + kept * depth_;
      std::copy_n(basis.data() + j * depth_, depth_, direction);
      const double before = std::sqrt(product(direction, direction));
      for (int round = 0; round < 2; ++round) {
        for (int64_t other = 0; other < kept; ++other) {
          const double* against = basis.data() + other * depth_;
          const double share = product(direction, against);
          for (int64_t k = 0; k < depth_; ++k) direction[k] -= share * against[k];
        }
      }
      const double length = std::sqrt(product(direction, direction));
      if (!(length > 1e-6 * before)) continue;
      for (int64_t k = 0; k < depth_; ++k) direction[k] /= length;
      ++kept;
    }
    return kept;
  }

  double product(const double* a, const double* b) const {
    double sum[4] = {};
    int64_t k = 0;
    for (; k + 4 <= depth_; k += 4) {
      for (int64_t lane = 0; lane < 4; ++lane) sum[lane] += a[k + lane] * b[k + lane];
    }
    for (; k < depth_; ++k) sum[0] += a[k] * b[k];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
  }

  // Bound of the rounding error of a product, relative to the norms of its rows. Write a = P^T v + e and P^T P = I + E
  // for the stored numbers; u = 2^-24, and the error of a sum of n products is at most (n + 2) u times the norms
  // (N. J. Higham, Accuracy and Stability of Numerical Algorithms, section 3.1; twice that without FMA).
  //   |E| <= defect, measured in float64; |e| <= error |v|.
  //   q . k <= a_q . a_k + |r_q| |r_k| + (3 defect + 2 error) |q| |k|, |r|^2 <= |v|^2 - |a|^2 + (2 error + defect) |v|^2
  // up to products of defect and error, which the final factor 1.1 covers, and the rounding of both products.
  void set_margin(const std::vector<double>& basis, int64_t width) {
    double defect = 0;
    std::vector<double> stored(basis.size());
    for (int64_t k = 0; k < width * depth_; ++k) stored[k] = static_cast<double>(static_cast<float>(basis[k]));
    for (int64_t i = 0; i < width; ++i) {
      for (int64_t j = 0; j < width; ++j) {
        const double off = product(&stored[i * depth_], &stored[j * depth_]) - (i == j ? 1.0 : 0.0);
        defect += off * off;
      }
    }
    defect = std::sqrt(defect) + 1e-12;
    const auto rounding = [](int64_t count) { return 2.0 * static_cast<double>(count + 2) * 0x1p-24; };
    const double error = std::sqrt(static_cast<double>(width)) * rounding(depth_);
    margin_ = 1.1 * (4 * defect + 4 * error + rounding(depth_) + 2 * rounding(kFine.depth()));
  }

  // Adds the residual norms to the coordinates. The margin of a product is added to |r|^2 under the root: by the
  // inequality of Cauchy and Schwarz the product of two such roots is at least |r_q| |r_k| + margin |q| |k|.
  void finish(const float* row, float* out) const {
    float& coarse_rest = out[kCoarse.offset];
    float* coordinates = out + kFine.offset;
    float& fine_rest = out[kBoundFloats - 1];
    const int64_t width = projection_->count();
    const double square = squared_norm(row, depth_);
    if (square == 0 || !bounded(square)) {
      std::fill(out, out + kBoundFloats, 0.0f);
      if (square != 0) coarse_rest = fine_rest = std::numeric_limits<float>::infinity();
      return;
    }
    std::fill(coordinates + width, coordinates + kCoordinates, 0.0f);
    const auto rest = [&](const BoundLevel& level) {
      const double left = std::max(0.0, square - squared_norm(coordinates, level.coordinates)) + margin_ * square;
      return static_cast<float>(std::sqrt(left) * (1 + 0x1p-22));
    };
    coarse_rest = rest(kCoarse);
    fine_rest = rest(kFine);
  }

  int64_t depth_;
  std::unique_ptr<const Projection> projection_;
  double margin_ = 0;
};

}  // namespace sg
