// A basis of a few directions, and the coordinates of rows in it.

#pragma once

#include <algorithm>
#include <limits>

#include "cpu/affinity/affinity_tile.h"
#include "cpu/core/aligned.h"

namespace sg {

class Projection {
 public:
  // at(k, j): element k of direction j.
  template <class At>
  Projection(int64_t depth, int64_t count, const At& at)
      : depth_(depth),
        count_(count),
        slivers_((count + kTileColumns - 1) / kTileColumns),
        packed_(aligned_floats(std::max<int64_t>(1, slivers_ * depth) * kTileColumns)) {
    float* to = packed_.get();
    for (int64_t s = 0; s < slivers_; ++s) {
      for (int64_t k = 0; k < depth; ++k) {
        for (int64_t j = s * kTileColumns; j < (s + 1) * kTileColumns; ++j) *to++ = j < count ? at(k, j) : 0.0f;
      }
    }
  }

  // Writes the coordinates of `count` consecutive rows to `out`, `stride` floats apart. Each is one chain of
  // multiply-adds, so it does not depend on the other rows of the call.
  void project(const float* rows, int64_t count, float* out, int64_t stride) const {
    float always[kTileRows];
    std::fill(always, always + kTileRows, -std::numeric_limits<float>::infinity());
    const float* strip[kTileRows];
    Tile values;
    for (int64_t s = 0; s < slivers_; ++s) {
      const int64_t width = std::min<int64_t>(kTileColumns, count_ - s * kTileColumns);
      for (int64_t i = 0; i < count; i += kTileRows) {
        const int64_t here = std::min<int64_t>(kTileRows, count - i);
        for (int64_t r = 0; r < kTileRows; ++r) strip[r] = rows + (i + std::min(r, here - 1)) * depth_;
        if (!tile_(depth_, strip, packed_.get() + s * depth_ * kTileColumns, always, nullptr, values)) {
          std::fill_n(values.value[0], kTileRows * kTileColumns, std::numeric_limits<float>::quiet_NaN());
        }
        for (int64_t r = 0; r < here; ++r) std::copy_n(values.value[r], width, out + (i + r) * stride + s * kTileColumns);
      }
    }
  }

  int64_t count() const { return count_; }

 private:
  int64_t depth_, count_, slivers_;
  AlignedFloats packed_;
  TileFunction tile_ = pick_tile();
};

}  // namespace sg
