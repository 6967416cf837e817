// The CUDA API that the kernels use. nvcc compiles them for the device, g++ with an emulation (tests/cuda/emulation);
// shared arrays and launches have a different syntax in the two, hence the macros below.
//
// State of the CUDA code: compiled for sm_80 and sm_90, executed in emulation only.

#pragma once

#include <cstdint>

#if defined(__CUDACC__)

#include <cuda_runtime.h>

#define SG_SHARED(T, name, count) __shared__ T name[count]
#define SG_DYNAMIC_SHARED(T, name)                                        \
  extern __shared__ __align__(16) unsigned char sg_dynamic_shared[];      \
  T* name = reinterpret_cast<T*>(sg_dynamic_shared)
// cuda_fp16.h does the same, but its half is a class that the emulation does not have.
__device__ __forceinline__ float sg_half_to_float(unsigned short bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}
#define SG_HALF_TO_FLOAT(bits) sg_half_to_float(bits)
// Put the kernel's name in parentheses where it holds a comma.
#define SG_LAUNCH(kernel, grid, block, shared, stream, ...) kernel<<<(grid), (block), (shared), (stream)>>>(__VA_ARGS__)

#else

#include "cuda_emu.h"

#endif

namespace sg::cuda {

constexpr unsigned kWholeWarp = 0xffffffffu;
constexpr int kWarp = 32;

// A thread's consecutive elements, moved by one instruction: the address must be a multiple of the whole size.
template <class T, int V>
struct alignas(sizeof(T) * V) Vector {
  T at[V];
};

}  // namespace sg::cuda
