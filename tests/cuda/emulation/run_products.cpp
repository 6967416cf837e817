// csr_spmm, chebyshev_step_ and rayleigh.

#include <sys/mman.h>

#include "cuda/chebyshev_step.cuh"
#include "cuda/rayleigh.cuh"
#include "driver.h"

namespace {

using namespace sg::cuda;

// A copy of `from` that begins `shift` elements into its allocation, where `shift` decides on the alignment.
template <class T>
Array shifted(const Array& from, int64_t shift) {
  Array to(from.bytes() + shift * sizeof(T));
  std::copy_n(from.as<T>(), from.count<T>(), to.as<T>() + shift);
  return to;
}

// indptr, indices, values, x, [channels, shift] -> y
template <class T, class X>
void spmm(const Arrays& in, Arrays& out) {
  const int64_t rows = in[0].count<int64_t>() - 1, entries = in[1].count<int32_t>();
  const int64_t channels = in[4].as<int64_t>()[0], shift = in[4].as<int64_t>()[1];
  const Array x = shifted<X>(in[3], shift);
  out.push_back(Array::unset<T>(rows * channels));
  const int64_t segments = segment_count(rows, entries);
  const Array first_row = Array::unset<int64_t>(segments + 1), carry = Array::unset<T>(segments * channels);
  launch_spmm<T, X>(rows, entries, channels, in[0].as<int64_t>(), in[1].as<int32_t>(), in[2].as<T>(),
                    x.as<X>() + shift, out[0].as<T>(), first_row.as<int64_t>(), carry.as<T>(), nullptr);
}

// indptr, indices, values, x, own, y, [channels, shift of x, shift of own], [gain, shift, keep] -> y; own is y where it
// is empty
void step(const Arrays& in, Arrays& out) {
  const int64_t rows = in[0].count<int64_t>() - 1, entries = in[1].count<int32_t>();
  const int64_t* n = in[6].as<int64_t>();
  const float* by = in[7].as<float>();
  const Array x = shifted<float>(in[3], n[1]), own = shifted<float>(in[4], n[2]);
  out.push_back(shifted<float>(in[5], 0));
  const int64_t segments = segment_count(rows, entries);
  const Array first_row = Array::unset<int64_t>(segments + 1), carry = Array::unset<float>(segments * n[0]);
  launch_step(rows, entries, n[0], in[0].as<int64_t>(), in[1].as<int32_t>(), in[2].as<float>(), x.as<float>() + n[1],
              in[4].bytes() == 0 ? out[0].as<float>() : own.as<float>() + n[2], out[0].as<float>(),
              {by[0], by[1], by[2]}, first_row.as<int64_t>(), carry.as<float>(), nullptr);
}

// indptr, indices, values, inverse_degree, u, [channels, shift] -> s, gradient
void rayleigh(const Arrays& in, Arrays& out) {
  const int64_t rows = in[0].count<int64_t>() - 1, entries = in[1].count<int32_t>();
  const int64_t channels = in[5].as<int64_t>()[0], shift = in[5].as<int64_t>()[1];
  const Array u = shifted<float>(in[4], shift);
  out.push_back(Array::unset<double>(channels));
  out.push_back(Array::unset<float>(rows * channels));
  const int64_t segments = segment_count(rows, entries);
  const int vector = rayleigh_vector(channels, u.as<float>() + shift, out[1].as<float>());
  const int64_t parts = rayleigh_parts(rows, entries, channels, vector);
  const Array first_row = Array::unset<int64_t>(segments + 1), carry = Array::unset<float>(segments * channels);
  const Array partial = Array::unset<double>(parts * channels);
  const Array sums = Array::unset<double>(ceil_div(parts, kSumParts) * channels);
  launch_rayleigh(rows, entries, channels, in[0].as<int64_t>(), in[1].as<int32_t>(), in[2].as<float>(),
                  in[3].as<float>(), u.as<float>() + shift, out[0].as<double>(), out[1].as<float>(),
                  {first_row.as<int64_t>(), carry.as<float>(), partial.as<double>(), sums.as<double>()}, nullptr);
}

// partial, [channels] -> half the sum of its rows
void rayleigh_sums(const Arrays& in, Arrays& out) {
  const int64_t channels = in[1].as<int64_t>()[0], parts = in[0].count<double>() / channels;
  const Array scratch = Array::unset<double>(ceil_div(parts, kSumParts) * channels);
  out.push_back(Array::unset<double>(channels));
  launch_rayleigh_sum(parts, channels, in[0].as<double>(), scratch.as<double>(), out[0].as<double>(), nullptr);
}

// Nothing -> two elements of the product with an x of 2^26 rows of 50 columns, 13 GB of which four pages are touched.
void far_spmm(const Arrays&, Arrays& out) {
  constexpr int64_t kRows = int64_t{1} << 26, kChannels = 50;
  constexpr size_t kBytes = sizeof(float) * kRows * kChannels;
  void* memory =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no address space of 13 GB");
  float* x = static_cast<float*>(memory);
  x[0] = 1.0f;
  x[49] = 3.0f;
  x[(kRows - 1) * kChannels] = 2.0f;
  x[kRows * kChannels - 1] = 9.0f;
  const int64_t indptr[] = {0, kBatch + 1};  // a batch, and an entry after it
  const int32_t indices[] = {0, kRows - 1, kRows - 1, 0, kRows - 1};
  const float values[] = {1.0f, 1.0f, 0.0f, 0.0f, 1.0f};
  alignas(16) float y[kChannels], carry[kChannels];
  int64_t first_row[2];
  launch_spmm<float, float>(1, kBatch + 1, kChannels, indptr, indices, values, x, y, first_row, carry, nullptr);
  munmap(memory, kBytes);
  out.push_back(Array::unset<float>(2));
  out[0].as<float>()[0] = y[0];
  out[0].as<float>()[1] = y[49];
}

// [groups, channels, vector] -> [lanes, tiles, blocks of a tile]
void lane_sizes(const Arrays& in, Arrays& out) {
  const int64_t* n = in[0].as<int64_t>();
  const LaneShape shape = lane_shape(n[1], static_cast<int>(n[2]));
  out.push_back(Array::unset<int64_t>(3));
  const int64_t sizes[] = {shape.lanes, shape.tiles, shape.grid("test", n[0]).x};
  std::copy_n(sizes, 3, out[0].as<int64_t>());
}

void note_places(int lanes, int64_t* group, int64_t* lane) {
  const Place place = find_place(lanes);
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  group[thread] = place.group;
  lane[thread] = place.lane;
}

// [blocks, lanes] -> group and lane of every thread
void places(const Arrays& in, Arrays& out) {
  const int64_t blocks = in[0].as<int64_t>()[0];
  const int lanes = static_cast<int>(in[0].as<int64_t>()[1]);
  for (int k = 0; k < 2; ++k) out.push_back(Array::unset<int64_t>(blocks * kMostThreads));
  SG_LAUNCH(note_places, make_grid("test", blocks), dim3(kMostThreads), 0, nullptr, lanes, out[0].as<int64_t>(),
            out[1].as<int64_t>());
}

// [x, y] -> the same, if there is such a grid
void grid(const Arrays& in, Arrays& out) {
  const dim3 size = make_grid("test", in[0].as<int64_t>()[0], in[0].as<int64_t>()[1]);
  out.push_back(Array::unset<int64_t>(2));
  out[0].as<int64_t>()[0] = size.x;
  out[0].as<int64_t>()[1] = size.y;
}

const Entry entries[] = {{"csr_spmm_float32", spmm<float, float>},
                         {"csr_spmm_float64", spmm<double, double>},
                         {"csr_spmm_bfloat16", spmm<float, Bf16>},
                         {"chebyshev_step", step},
                         {"rayleigh", rayleigh},
                         {"rayleigh_sums", rayleigh_sums},
                         {"far_spmm", far_spmm},
                         {"lane_sizes", lane_sizes},
                         {"places", places},
                         {"grid", grid}};

}  // namespace
