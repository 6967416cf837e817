// The part of CUDA C++ that the kernels use, executed by the CPU.
//
// Every CUDA thread is a fiber; blocks run one after the other on one OS thread. SG_EMU_SEED permutes the order of the
// blocks and of the threads (0: ascending). Under ThreadSanitizer every CUDA thread is a thread of its own that only
// __syncthreads, __syncwarp and the ends of kernels order: a missing barrier is a reported race. Under AddressSanitizer
// an access past a buffer or past a shared array is reported.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
using cudaStream_t = void*;
using cudaError_t = int;
constexpr cudaError_t cudaSuccess = 0;
constexpr int cudaMemcpyDeviceToHost = 2;
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return "emulated"; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, int, cudaStream_t) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}

namespace sg_emu {

struct Context {  // what a running CUDA thread sees
  uint3 thread, block;
  dim3 block_size, grid_size;
};
extern Context* current;

enum class Op { kShuffle, kShuffleUp, kShuffleDown, kShuffleXor, kBallot, kAny, kAll, kSync };

void barrier(const char* file, int line);
uint64_t warp_op(Op op, unsigned mask, uint64_t bits, int argument, int width, const char* file, int line);
void* dynamic_shared();
void* static_shared(const void* key, size_t bytes);
void launch(dim3 grid, dim3 block, size_t shared, const std::function<void()>& body, const char* name);

template <class T>
uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof(T));
  return bits;
}

template <class T>
T from_bits(uint64_t bits) {
  T value;
  __builtin_memcpy(&value, &bits, sizeof(T));
  return value;
}

template <class T>
T shuffle(Op op, unsigned mask, T value, int argument, const char* file, int line, int width = 32) {
  return from_bits<T>(warp_op(op, mask, to_bits(value), argument, width, file, line));
}

}  // namespace sg_emu

#define threadIdx (sg_emu::current->thread)
#define blockIdx (sg_emu::current->block)
#define blockDim (sg_emu::current->block_size)
#define gridDim (sg_emu::current->grid_size)

#define __syncthreads() sg_emu::barrier(__FILE__, __LINE__)
#define __syncwarp() sg_emu::warp_op(sg_emu::Op::kSync, 0xffffffffu, 0, 0, 32, __FILE__, __LINE__)
#define __shfl_sync(mask, value, lane) sg_emu::shuffle(sg_emu::Op::kShuffle, mask, value, lane, __FILE__, __LINE__)
#define __shfl_up_sync(mask, value, by) sg_emu::shuffle(sg_emu::Op::kShuffleUp, mask, value, by, __FILE__, __LINE__)
#define __shfl_down_sync(mask, value, by) sg_emu::shuffle(sg_emu::Op::kShuffleDown, mask, value, by, __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, by) sg_emu::shuffle(sg_emu::Op::kShuffleXor, mask, value, by, __FILE__, __LINE__)
#define SG_EMU_VOTE(op, mask, holds) sg_emu::warp_op(op, mask, (holds) ? 1 : 0, 0, 32, __FILE__, __LINE__)
#define __ballot_sync(mask, holds) static_cast<unsigned>(SG_EMU_VOTE(sg_emu::Op::kBallot, mask, holds))
#define __any_sync(mask, holds) static_cast<int>(SG_EMU_VOTE(sg_emu::Op::kAny, mask, holds))
#define __all_sync(mask, holds) static_cast<int>(SG_EMU_VOTE(sg_emu::Op::kAll, mask, holds))

inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline int __float_as_int(float value) { return sg_emu::from_bits<int>(sg_emu::to_bits(value)); }
inline float __int_as_float(int value) { return sg_emu::from_bits<float>(sg_emu::to_bits(value)); }

template <class T, std::enable_if_t<std::is_integral_v<T>, int> = 0>
T atomicAdd(T* to, T value) {
  return __atomic_fetch_add(to, value, __ATOMIC_RELAXED);
}

template <class T, std::enable_if_t<std::is_integral_v<T>, int> = 0>
T atomicMax(T* to, T value) {
  T old = __atomic_load_n(to, __ATOMIC_RELAXED);
  while (old < value && !__atomic_compare_exchange_n(to, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}

// A half shifted to a float's place, with the float's bias: exact, also for subnormal numbers.
inline float sg_half_to_float(uint16_t bits) {
  const int magnitude = (bits & 0x7fff) << 13, sign = (bits & 0x8000) << 16;
  if (magnitude >= 0x0f800000) return __int_as_float(sign | 0x7f800000 | magnitude);
  return __int_as_float(sign | __float_as_int(__int_as_float(magnitude) * 0x1p112f));
}
#define SG_HALF_TO_FLOAT(bits) sg_half_to_float(bits)

// `name` is an array under nvcc and a pointer here: no sizeof(name).
#define SG_SHARED(T, name, count) \
  static char sg_key_##name;      \
  T* const name = static_cast<T*>(sg_emu::static_shared(&sg_key_##name, sizeof(T) * (count)))
#define SG_DYNAMIC_SHARED(T, name) T* name = static_cast<T*>(sg_emu::dynamic_shared())
#define SG_LAUNCH(kernel, grid, block, shared, stream, ...) \
  ((void)(stream), sg_emu::launch((grid), (block), (shared), [&] { kernel(__VA_ARGS__); }, #kernel))
