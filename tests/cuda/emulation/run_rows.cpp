// unit_project, without the product, cosine_topc, cell_topc and index_check.

#include "cuda/cell_topc.cuh"
#include "cuda/cosine_topc.cuh"
#include "cuda/index_check.cuh"
#include "cuda/unit_project.cuh"
#include "driver.h"

namespace {

using namespace sg::cuda;

// rows, mean, [rows, depth] -> unit, inverse
template <class X>
void unit_project(const Arrays& in, Arrays& out) {
  const int64_t* n = in[2].as<int64_t>();
  out.push_back(Array::unset<float>(n[0] * n[1]));
  out.push_back(Array::unset<float>(n[0]));
  launch_unit_rows(n[0], n[1], in[0].as<X>(), in[1].as<float>(), out[0].as<float>(), out[1].as<float>(), nullptr);
}

// query, rows, mean, inverse_norm, node, candidates, [queries, depth, most, c], [threshold] -> columns, values
template <class X>
void cosine_topc(const Arrays& in, Arrays& out) {
  const int64_t* n = in[6].as<int64_t>();
  out.push_back(Array::unset<int32_t>(n[0] * n[3]));
  out.push_back(Array::unset<float>(n[0] * n[3]));
  launch_cosine_topc({n[0], n[1], n[2], n[3], in[7].as<float>()[0]}, in[0].as<float>(), in[1].as<X>(),
                     in[2].as<float>(), in[3].as<float>(), in[4].as<int32_t>(), in[5].as<int32_t>(),
                     out[0].as<int32_t>(), out[1].as<float>(), nullptr);
}

// query, query_image, keys, key_image, cell_ptr, probes, [queries, depth, probed, c] -> columns, values
template <class X>
void cell_topc(const Arrays& in, Arrays& out) {
  const int64_t* n = in[6].as<int64_t>();
  out.push_back(Array::unset<int32_t>(n[0] * n[3]));
  out.push_back(Array::unset<float>(n[0] * n[3]));
  launch_cell_topc({n[0], n[1], n[2], n[3]}, in[3].count<int32_t>(), in[0].as<float>(), in[1].as<int32_t>(),
                   in[2].as<X>(), in[3].as<int32_t>(), in[4].as<int64_t>(), in[5].as<int32_t>(),
                   out[0].as<int32_t>(), out[1].as<float>(), nullptr);
}

// indices, [bound] -> what index_check finds
void check(const Arrays& in, Arrays& out) {
  out.push_back(Array::zeros<unsigned long long>(1));
  launch_index_check("test", in[0].count<int32_t>(), in[1].as<int64_t>()[0], in[0].as<int32_t>(),
                     out[0].as<unsigned long long>(), nullptr);
}

// float16 -> float32
void widened(const Arrays& in, Arrays& out) {
  out.push_back(Array::unset<float>(in[0].count<Half>()));
  for (int64_t i = 0; i < in[0].count<Half>(); ++i) out[0].as<float>()[i] = widen(in[0].as<Half>()[i]);
}

const Entry entries[] = {{"unit_project_float32", unit_project<float>}, {"unit_project_float16", unit_project<Half>},
                         {"cosine_topc_float32", cosine_topc<float>},   {"cosine_topc_float16", cosine_topc<Half>},
                         {"cell_topc_float32", cell_topc<float>},       {"cell_topc_float16", cell_topc<Half>},
                         {"index_check", check},                        {"widened", widened}};

}  // namespace
