// gram, rotate and adam_rows_.

#include "cuda/adam_rows.cuh"
#include "cuda/gram.cuh"
#include "cuda/rotate.cuh"
#include "driver.h"

namespace {

using namespace sg::cuda;

// x, y, [rows, left, right, symmetric] -> the Gram matrix
void gram(const Arrays& in, Arrays& out) {
  const int64_t* n = in[2].as<int64_t>();
  const GramShape shape = gram_shape(n[0], n[1], n[2]);
  const Array partial = Array::unset<double>(shape.chunks * n[1] * n[2]);
  out.push_back(Array::unset<double>(n[1] * n[2]));
  launch_gram(shape, n[3] != 0, in[0].as<float>(), n[3] ? in[0].as<float>() : in[1].as<float>(), partial.as<double>(),
              out[0].as<double>(), nullptr);
}

// [rows, left, right] -> [chunks, chunk_rows, left_tile, right_tile, threads]
void gram_sizes(const Arrays& in, Arrays& out) {
  const int64_t* n = in[0].as<int64_t>();
  const GramShape shape = gram_shape(n[0], n[1], n[2]);
  out.push_back(Array::unset<int64_t>(5));
  const int64_t sizes[] = {shape.chunks, shape.chunk_rows, shape.left_tile, shape.right_tile, shape.threads};
  std::copy_n(sizes, 5, out[0].as<int64_t>());
}

// x, u, [rows, channels, width] -> x u
void rotate(const Arrays& in, Arrays& out) {
  const int64_t* n = in[2].as<int64_t>();
  out.push_back(Array::unset<float>(n[0] * n[2]));
  launch_rotate(rotate_shape(n[0], n[1], n[2]), in[0].as<float>(), in[1].as<double>(), out[0].as<float>(), nullptr);
}

// x, m, v, gradient, step, [learning_rate, beta1, beta2, epsilon], [channels] -> x, m, v, [fault]
template <class Step>
void adam(const Arrays& in, Arrays& out) {
  const int64_t rows = in[4].count<Step>(), channels = in[6].as<int64_t>()[0];
  const double* p = in[5].as<double>();
  for (int k = 0; k < 3; ++k) {
    out.emplace_back(in[k].bytes());
    std::copy_n(in[k].raw(), in[k].bytes(), out[k].raw());
  }
  out.push_back(Array::zeros<unsigned long long>(1));
  const Array sizes = Array::unset<Vector<float, 2>>(rows);
  const AdamArrays arrays{out[0].as<float>(),      out[1].as<float>(),           out[2].as<float>(),
                          in[3].as<float>(),       sizes.as<Vector<float, 2>>(), out[3].as<unsigned long long>()};
  const AdamBetas betas{static_cast<float>(p[1]), static_cast<float>(p[2]), static_cast<float>(1 - p[1]),
                        static_cast<float>(1 - p[2]), static_cast<float>(p[3])};
  launch_adam_rows(rows, channels, arrays, in[4].as<Step>(), p[0], p[1], p[2], betas, nullptr);
}

const Entry entries[] = {{"gram", gram},
                         {"gram_sizes", gram_sizes},
                         {"rotate", rotate},
                         {"adam_rows_int64", adam<int64_t>},
                         {"adam_rows_float32", adam<float>}};

}  // namespace
