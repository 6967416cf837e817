// Memory aligned to cache lines, for aligned vector loads.

#pragma once

#include <cstdint>
#include <memory>
#include <new>

namespace sg {

struct FreeAligned {
  void operator()(float* data) const { ::operator delete(data, std::align_val_t{64}); }
};
using AlignedFloats = std::unique_ptr<float, FreeAligned>;

inline AlignedFloats aligned_floats(int64_t count) {
  return AlignedFloats(
      static_cast<float*>(::operator new(static_cast<size_t>(count) * sizeof(float), std::align_val_t{64})));
}

}  // namespace sg
