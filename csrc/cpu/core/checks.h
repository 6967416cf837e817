// Argument checks. Every message names the operator, the argument, the expected value and the value given.

#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

#include "cpu/core/torch_api.h"

namespace sg {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <class... Parts>
[[noreturn]] void fail(const char* op, const Parts&... parts) {
  std::ostringstream text;
  text << "spectral_graph::" << op << ": ";
  (text << ... << parts);
  throw std::runtime_error(text.str());
}

// As STD_TORCH_CHECK, but without the path of the source file in the message.
#define SG_CHECK(condition, op, ...)             \
  do {                                           \
    if (!(condition)) sg::fail(op, __VA_ARGS__); \
  } while (false)

inline const char* dtype_name(ScalarType type) {
  switch (type) {
    case ScalarType::Float:
      return "float32";
    case ScalarType::Double:
      return "float64";
    case ScalarType::Half:
      return "float16";
    case ScalarType::BFloat16:
      return "bfloat16";
    case ScalarType::Int:
      return "int32";
    case ScalarType::Long:
      return "int64";
    case ScalarType::Bool:
      return "bool";
    default:
      return "another type";
  }
}

inline std::string shape_text(const Tensor& tensor) {
  std::ostringstream text;
  text << "(";
  for (int64_t i = 0; i < tensor.dim(); ++i) text << (i ? ", " : "") << tensor.size(i);
  text << (tensor.dim() == 1 ? ",)" : ")");
  return text.str();
}

inline void check_tensor(const char* op, const char* name, const Tensor& tensor, int64_t dim, ScalarType type) {
  SG_CHECK(tensor.dim() == dim, op, name, " must have ", dim, dim == 1 ? " dimension" : " dimensions",
           ", got the shape ", shape_text(tensor));
  SG_CHECK(tensor.scalar_type() == type, op, name, " must be ", dtype_name(type), ", got ",
           dtype_name(tensor.scalar_type()));
  SG_CHECK(tensor.is_cpu(), op, name, " must be on the CPU, as the other arguments are");
  SG_CHECK(tensor.is_contiguous(), op, name, " must be contiguous; call .contiguous() on it");
}

inline ScalarType check_floating(const char* op, const char* name, const Tensor& tensor) {
  const ScalarType type = tensor.scalar_type();
  SG_CHECK(type == ScalarType::Float || type == ScalarType::Double, op, name, " must be float32 or float64, got ",
           dtype_name(type));
  return type;
}

}  // namespace sg
