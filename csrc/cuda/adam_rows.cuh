// One Adam step on the rows of a block, in place, with a step count for each row.
//
// Two passes: the step sizes, one thread for each row, since their powers need float64; then the update, one thread for
// V adjacent columns. The first pass searches for step counts below 1, and the second does nothing if it found one: so
// an error changes nothing, and the host synchronises only once.

#pragma once

#include "cuda/lanes.cuh"

namespace sg::cuda {

struct AdamBetas {
  float beta1, beta2;  // decay rates of the moments
  float rest1, rest2;  // 1 - beta, rounded once
  float epsilon;
};

// sizes[i] is the step with bias correction: x -= at[0] m / (sqrt(v) at[1] + epsilon). `fault` becomes
// rows - i for the first row i whose count is below 1; it must be 0 before.
template <class Step>
__global__ void __launch_bounds__(kMostThreads)
    adam_sizes(int64_t rows, const Step* __restrict__ step, double learning_rate, double beta1, double beta2,
               Vector<float, 2>* __restrict__ sizes, unsigned long long* __restrict__ fault) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  if (!(step[row] >= Step(1))) {  // NaN too
    atomicMax(fault, static_cast<unsigned long long>(rows - row));
    return;
  }
  const double count = static_cast<double>(step[row]);
  sizes[row].at[0] = static_cast<float>(learning_rate / (1 - pow(beta1, count)));
  sizes[row].at[1] = static_cast<float>(1 / sqrt(1 - pow(beta2, count)));
}

template <int V>
__global__ void __launch_bounds__(kMostThreads)
    adam_update(int64_t rows, int64_t channels, int lanes, AdamBetas betas, const Vector<float, 2>* __restrict__ sizes,
                const unsigned long long* __restrict__ fault, const float* __restrict__ gradient,
                float* __restrict__ x, float* __restrict__ m, float* __restrict__ v) {
  const Place place = find_place(lanes);
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * lanes + place.lane) * V;
  if (place.group >= rows || column >= channels || *fault != 0) return;
  const int64_t at = place.group * channels + column;
  const Vector<float, 2> size = sizes[place.group];
  const Vector<float, V> g = load_vector<float, V>(gradient + at);
  Vector<float, V> new_x = load_vector<float, V>(x + at);
  Vector<float, V> new_m = load_vector<float, V>(m + at), new_v = load_vector<float, V>(v + at);
#pragma unroll
  for (int k = 0; k < V; ++k) {
    new_m.at[k] = betas.beta1 * new_m.at[k] + betas.rest1 * g.at[k];
    new_v.at[k] = betas.beta2 * new_v.at[k] + betas.rest2 * g.at[k] * g.at[k];
    new_x.at[k] -= size.at[0] * new_m.at[k] / (sqrtf(new_v.at[k]) * size.at[1] + betas.epsilon);
  }
  store_vector<float, V>(x + at, new_x);
  store_vector<float, V>(m + at, new_m);
  store_vector<float, V>(v + at, new_v);
}

struct AdamArrays {
  float *x, *m, *v;
  const float* gradient;
  Vector<float, 2>* sizes;    // rows, scratch
  unsigned long long* fault;  // 1 element, 0 before
};

template <class Step>
void launch_adam_rows(int64_t rows, int64_t channels, const AdamArrays& to, const Step* step, double learning_rate,
                      double beta1, double beta2, const AdamBetas& betas, cudaStream_t stream) {
  constexpr const char* kOp = "adam_rows_";
  if (rows == 0) return;
  SG_LAUNCH(adam_sizes<Step>, make_grid(kOp, ceil_div(rows, kMostThreads)), dim3(kMostThreads), 0, stream, rows, step,
            learning_rate, beta1, beta2, to.sizes, to.fault);
  if (channels == 0) return;
  const auto fits = [&](int vector) {
    return rows_aligned(to.x, channels, vector) && rows_aligned(to.m, channels, vector) &&
           rows_aligned(to.v, channels, vector) && rows_aligned(to.gradient, channels, vector);
  };
  const int vector = fits(4) ? 4 : fits(2) ? 2 : 1;
  const LaneShape shape = lane_shape(channels, vector);
  const auto update = vector == 4 ? adam_update<4> : vector == 2 ? adam_update<2> : adam_update<1>;
  SG_LAUNCH(update, shape.grid(kOp, rows), dim3(kMostThreads), 0, stream, rows, channels, shape.lanes, betas, to.sizes,
            to.fault, to.gradient, to.x, to.m, to.v);
}

}  // namespace sg::cuda
