// A value and its column as one 64-bit key that orders as topc_affinity does: the larger key is the better pair, a
// higher value, or the same value and the lower column. 0 is no pair.

#pragma once

#include "cuda/cuda_api.h"

namespace sg::cuda {

// Returns the bits of a float as an integer that sorts as the float does; the float must not be NaN.
__device__ __forceinline__ uint32_t ordered_bits(float value) {
  const uint32_t bits = static_cast<uint32_t>(__float_as_int(value + 0.0f));  // -0 becomes 0: they are equal
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ float ordered_value(uint32_t ordered) {
  return __int_as_float(static_cast<int>(ordered >> 31 ? ordered & 0x7fffffffu : ~ordered));
}

__device__ __forceinline__ uint64_t pair_key(float value, int64_t column) {
  return static_cast<uint64_t>(ordered_bits(value)) << 32 | static_cast<uint32_t>(~static_cast<uint32_t>(column));
}

// The column above the value, for an ascending sort by column in which the highest value of a column comes first; what
// is no pair goes to the end.
constexpr uint64_t kNoColumn = ~uint64_t{0};

__device__ __forceinline__ uint64_t column_key(uint64_t key) {
  const uint64_t column = static_cast<uint32_t>(~static_cast<uint32_t>(key));
  return key == 0 ? kNoColumn : column << 32 | static_cast<uint32_t>(~static_cast<uint32_t>(key >> 32));
}

__device__ __forceinline__ uint64_t pair_of_column_key(uint64_t key) {
  const uint64_t value = static_cast<uint32_t>(~static_cast<uint32_t>(key));
  return key == kNoColumn ? 0 : value << 32 | static_cast<uint32_t>(~static_cast<uint32_t>(key >> 32));
}

}  // namespace sg::cuda
