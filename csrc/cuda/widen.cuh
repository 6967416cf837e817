// Conversion of stored numbers to the type that a kernel computes with.

#pragma once

#include <cstdint>

#include "cuda/cuda_api.h"

namespace sg::cuda {

// A bfloat16, the upper half of a float32.
struct Bf16 {
  uint16_t bits;
};

struct Half {
  uint16_t bits;
};

__device__ __forceinline__ float widen(float value) { return value; }
__device__ __forceinline__ double widen(double value) { return value; }
__device__ __forceinline__ float widen(Bf16 value) { return __int_as_float(static_cast<int>(value.bits) << 16); }
__device__ __forceinline__ float widen(Half value) { return SG_HALF_TO_FLOAT(value.bits); }

}  // namespace sg::cuda
