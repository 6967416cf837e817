// Prints the launches that the host side of csr_spmm makes, one a line: kernel, grid, block, arguments. Nothing runs.
// Input: a line a product, with "float" or "double", rows, entries, channels and seven addresses.

#include <cstdint>
#include <iostream>
#include <string>
#include <type_traits>

#include "cuda/cuda_api.h"

namespace sg_emu {  // what the kernels name, for the linker
Context* current;
void barrier(const char*, int) {}
void* static_shared(const void*, size_t) { return nullptr; }
}  // namespace sg_emu

template <auto kernel>
std::string kernel_name() {
  const std::string text = __PRETTY_FUNCTION__;
  const size_t begin = text.find("kernel = ") + 9;
  return text.substr(begin, text.find(';', begin) - begin);
}

template <class T>
void note_argument(T argument) {
  if constexpr (std::is_pointer_v<T>) std::cout << " " << reinterpret_cast<uintptr_t>(argument);
  else std::cout << " " << argument;
}

template <class... Arguments>
void note(const std::string& name, dim3 grid, dim3 block, Arguments... arguments) {
  std::cout << name << " | " << grid.x << " " << grid.y << " " << grid.z << " " << block.x << " |";
  (note_argument(arguments), ...);
  std::cout << "\n";
}

#undef SG_LAUNCH
#define SG_LAUNCH(kernel, grid, block, shared, stream, ...) \
  ((void)(stream), note(kernel_name<(kernel)>(), (grid), (block), __VA_ARGS__))

#include "cuda/csr_spmm.cuh"

template <class T>
void launch(int64_t rows, int64_t entries, int64_t channels, const uintptr_t* at) {
  sg::cuda::launch_spmm<T, T>(rows, entries, channels, reinterpret_cast<const int64_t*>(at[0]),
                              reinterpret_cast<const int32_t*>(at[1]), reinterpret_cast<const T*>(at[2]),
                              reinterpret_cast<const T*>(at[3]), reinterpret_cast<T*>(at[4]),
                              reinterpret_cast<int64_t*>(at[5]), reinterpret_cast<T*>(at[6]), nullptr);
}

int main() {
  std::string scalar;
  int64_t rows, entries, channels;
  while (std::cin >> scalar >> rows >> entries >> channels) {
    uintptr_t at[7];
    for (uintptr_t& address : at) std::cin >> address;
    try {
      if (scalar == "float") launch<float>(rows, entries, channels, at);
      else launch<double>(rows, entries, channels, at);
    } catch (const std::exception& error) {
      std::cout << "error " << error.what() << "\n";
    }
    std::cout << "end\n";
  }
}
