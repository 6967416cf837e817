// Rows stored as float16 or float32, read as float32.

#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/core/checks.h"
#include "cpu/core/simd.h"

#ifdef SG_X86
#define SG_F16C __attribute__((target("avx2,fma,f16c")))
#endif

namespace sg {

inline bool has_f16c() {
#ifdef SG_X86
  static const bool yes = has_avx2() && __builtin_cpu_supports("f16c") != 0;
  return yes;
#else
  return false;
#endif
}

inline float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16, exponent = half >> 10 & 31u;
  uint32_t fraction = half & 0x3ffu, bits;
  if (exponent == 31) bits = sign | 0x7f800000u | fraction << 13;
  else if (exponent != 0) bits = sign | (exponent + 112) << 23 | fraction << 13;
  else if (fraction == 0) bits = sign;
  else {
    uint32_t shift = 0;
    for (; (fraction & 0x400u) == 0; fraction <<= 1) ++shift;
    bits = sign | (113 - shift) << 23 | (fraction & 0x3ffu) << 13;
  }
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

#ifdef SG_X86
SG_F16C inline void widen_f16c(const uint16_t* from, int64_t count, float* to) {
  int64_t k = 0;
  for (; k + 8 <= count; k += 8) {
    _mm256_storeu_ps(to + k, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + k))));
  }
  for (; k < count; ++k) to[k] = half_to_float(from[k]);
}
#endif

// A matrix (rows, depth) of float16 or float32.
struct HalfOrFloat {
  const float* full;
  const uint16_t* half;  // null where `full` is not
  int64_t rows;
  int64_t depth;

  // Row i as floats: in place, or converted into `buffer` of `depth` floats.
  const float* row(int64_t i, float* buffer) const {
    if (full != nullptr) return full + i * depth;
    const uint16_t* from = half + i * depth;
#ifdef SG_X86
    if (has_f16c()) {
      widen_f16c(from, depth, buffer);
      return buffer;
    }
#endif
    for (int64_t k = 0; k < depth; ++k) buffer[k] = half_to_float(from[k]);
    return buffer;
  }

  void prefetch(int64_t i) const {
    const char* at = full != nullptr ? reinterpret_cast<const char*>(full + i * depth)
                                     : reinterpret_cast<const char*>(half + i * depth);
    const int64_t bytes = depth * (full != nullptr ? 4 : 2);
    for (int64_t line = 0; line < bytes; line += 64) __builtin_prefetch(at + line);
  }
};

inline HalfOrFloat check_half_or_float(const char* op, const char* name, const Tensor& tensor) {
  const ScalarType type = tensor.scalar_type();
  SG_CHECK(type == ScalarType::Half || type == ScalarType::Float, op, name, " must be float16 or float32, got ",
           dtype_name(type));
  check_tensor(op, name, tensor, 2, type);
  const void* data = tensor.const_data_ptr();
  return {type == ScalarType::Float ? static_cast<const float*>(data) : nullptr,
          type == ScalarType::Half ? static_cast<const uint16_t*>(data) : nullptr, tensor.size(0), tensor.size(1)};
}

}  // namespace sg
