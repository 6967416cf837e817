// Which vector instructions may be used, decided when the program runs: one binary serves every x86-64.

#pragma once

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define SG_X86 1
#include <immintrin.h>
#define SG_AVX2 __attribute__((target("avx2,fma")))
#endif

namespace sg {

// ATEN_CPU_CAPABILITY=default is PyTorch's own switch for "no vector extensions"; the portable paths are tested with
// it.
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

// Asks for the cache line of `place`, because it is needed soon.
inline void prefetch(const void* place) {
#if defined(__GNUC__) || defined(__clang__)
  __builtin_prefetch(place);
#else
  static_cast<void>(place);
#endif
}

// Asks for the cache line of `place` to be written: with a plain prefetch a line that the other threads have too would
// have to be asked for once more. Processors without the instruction take it for none.
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
