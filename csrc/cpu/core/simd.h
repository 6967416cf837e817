// Run-time detection of vector instructions, so that one binary serves every x86-64.

#pragma once

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define SG_X86 1
#include <immintrin.h>
#define SG_AVX2 __attribute__((target("avx2,fma")))
#endif

namespace sg {

// PyTorch's switch ATEN_CPU_CAPABILITY=default disables the vector extensions here too; the tests run the portable
// paths with it.
inline bool has_avx2() {
#ifdef SG_X86
  static const bool yes = [] {
    const char* capability = std::getenv("ATEN_CPU_CAPABILITY");
    if (capability != nullptr && std::strcmp(capability, "default") == 0) return false;
    return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
  }();
  return yes;
#else
  return false;
#endif
}

// Prefetches the cache line of `place` for reading.
inline void prefetch(const void* place) {
#if defined(__GNUC__) || defined(__clang__)
  __builtin_prefetch(place);
#else
  static_cast<void>(place);
#endif
}

// Prefetches the cache line of `place` for writing: a plain prefetch would leave the line shared with other cores, and
// the store would have to acquire it again. Processors without the instruction execute a no-op.
inline void prefetch_to_write(const void* place) {
#ifdef SG_X86
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(place)));
#elif defined(__GNUC__) || defined(__clang__)
  __builtin_prefetch(place, 1);
#else
  static_cast<void>(place);
#endif
}

}  // namespace sg
