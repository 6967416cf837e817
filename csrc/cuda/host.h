// Shared host code: argument checks with the messages of the CPU operators, and the stream of a tensor's device.

#pragma once

#include <limits>
#include <vector>

#include "cpu/core/checks.h"
#include "cpu/core/torch_api.h"
#include "cuda/launch.h"

#if defined(__CUDACC__)

#include <torch/csrc/stable/accelerator.h>

#define SG_CUDA_OPERATOR(name) \
  STABLE_TORCH_LIBRARY_IMPL(spectral_graph, CUDA, m) { m.impl(#name, TORCH_BOX(&sg::cuda::name)); }

namespace sg::cuda {

using Guard = torch::stable::accelerator::DeviceGuard;

inline bool on_gpu(const Tensor& tensor) { return tensor.is_cuda(); }

inline cudaStream_t current_stream(const Tensor& tensor) {
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

}  // namespace sg::cuda

#else  // the emulation takes tensors on the CPU, under other names

#define SG_CUDA_OPERATOR(name) \
  STABLE_TORCH_LIBRARY_IMPL(spectral_graph_emulated, CPU, m) { m.impl(#name, TORCH_BOX(&sg::cuda::name)); }

namespace sg::cuda {

struct Guard {
  explicit Guard(int32_t) {}
};

inline bool on_gpu(const Tensor& tensor) { return tensor.is_cpu(); }
inline cudaStream_t current_stream(const Tensor&) { return nullptr; }

}  // namespace sg::cuda

#endif

namespace sg::cuda {

inline void check_cuda(const char* op, cudaError_t code) {
  SG_CHECK(code == cudaSuccess, op, "CUDA reports: ", cudaGetErrorString(code));
}

inline void check_launch(const char* op) { check_cuda(op, cudaGetLastError()); }

// As check_tensor of the CPU, for a tensor on the GPU of `like`.
inline void check_device_tensor(const char* op, const char* name, const Tensor& tensor, int64_t dim, ScalarType type,
                                const Tensor& like) {
  SG_CHECK(tensor.dim() == dim, op, name, " must have ", dim, dim == 1 ? " dimension" : " dimensions",
           ", got the shape ", shape_text(tensor));
  SG_CHECK(tensor.scalar_type() == type, op, name, " must be ", dtype_name(type), ", got ",
           dtype_name(tensor.scalar_type()));
  SG_CHECK(on_gpu(tensor), op, name, " must be on a GPU, as the other arguments are");
  SG_CHECK(tensor.get_device_index() == like.get_device_index(), op, name, " must be on GPU ", like.get_device_index(),
           ", as the other arguments are, got GPU ", tensor.get_device_index());
  SG_CHECK(tensor.is_contiguous(), op, name, " must be contiguous; call .contiguous() on it");
}

// As check_half_or_float of the CPU, for a tensor on the GPU of `like`; whether it is float16.
inline bool check_device_half_or_float(const char* op, const char* name, const Tensor& tensor, const Tensor& like) {
  const ScalarType type = tensor.scalar_type();
  SG_CHECK(type == ScalarType::Half || type == ScalarType::Float, op, name, " must be float16 or float32, got ",
           dtype_name(type));
  check_device_tensor(op, name, tensor, 2, type, like);
  return type == ScalarType::Half;
}

inline void check_ascending(const char* op, const char* name, const std::vector<int64_t>& starts) {
  for (size_t i = 0; i + 1 < starts.size(); ++i) {
    SG_CHECK(starts[i] <= starts[i + 1], op, name, " must not decrease, got ", name, "[", i, "] = ", starts[i], " and ",
             name, "[", i + 1, "] = ", starts[i + 1]);
  }
}

// Makes the device of a tensor current, and holds its stream.
class OnDevice {
 public:
  explicit OnDevice(const Tensor& tensor)
      : guard_(tensor.get_device_index()), stream_(current_stream(tensor)) {}

  cudaStream_t stream() const { return stream_; }

  // Copies to the host and synchronises.
  template <class T>
  void read(const char* op, const T* from, T* to, int64_t count) const {
    check_cuda(op, cudaMemcpyAsync(to, from, static_cast<size_t>(count) * sizeof(T), cudaMemcpyDeviceToHost, stream_));
    check_cuda(op, cudaStreamSynchronize(stream_));
  }

  template <class T>
  T read_one(const char* op, const T* from) const {
    T value;
    read(op, from, &value, 1);
    return value;
  }

 private:
  Guard guard_;
  cudaStream_t stream_;
};

}  // namespace sg::cuda
