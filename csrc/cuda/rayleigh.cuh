// rayleigh: s = diag(u^T D^-1 A u) and its gradient (D^-1 A + A D^-1) u for a symmetric A, in one pass over A.
//
// Row i of the gradient is the sum over j of a_ij (d_i + d_j) u_j, with d = 1 / D, and s_c is half of u_c . gradient_c.
// The sum of a row may lie in several segments; its product with u_i is the sum of the products of the pieces, so every
// segment adds its own to s, in float64, before the pieces are joined. A block leaves one sum a column; these are added
// in the order of the blocks, so both results are the same, bit by bit, in every run.

#pragma once

#include "cuda/segments.cuh"

namespace sg::cuda {

constexpr int kSumColumns = 8;                             // of a block: 64 bytes of a row of sums
constexpr int kSumStrands = kMostThreads / kSumColumns;    // threads of one column
constexpr int64_t kSumParts = 1024;                        // rows of sums that one block adds

// a_ij (d_i + d_j)
struct BalancedEntries {
  struct Loaded {
    float value, other;
  };
  const float* values;
  const float* inverse_degree;

  __device__ __forceinline__ float own(int64_t row) const { return inverse_degree[row]; }
  __device__ __forceinline__ Loaded load(int64_t p, int32_t column) const {
    return {values[p], inverse_degree[column]};
  }
  static __device__ __forceinline__ float factor(const Loaded& loaded, float own) {
    return loaded.value * (own + loaded.other);
  }
};

// The sums as they are, and u_i . piece of each, added to one sum a column; the product of two floats is exact in
// float64.
template <int V>
struct Dots {
  const float* u;   // from the thread's first column on
  float* gradient;  // from there on
  float* carry;     // the segment's row, from there on
  int64_t channels;
  double sum[V];

  __device__ __forceinline__ void ends(int64_t row, const Vector<float, V>& piece) {
    store_vector<float, V>(gradient + row * channels, piece);
    add(row, piece);
  }
  __device__ __forceinline__ void passes(int64_t row, const Vector<float, V>& piece) {
    store_vector<float, V>(carry, piece);
    add(row, piece);
  }
  __device__ __forceinline__ void add(int64_t row, const Vector<float, V>& piece) {
    const Vector<float, V> own = load_vector<float, V>(u + row * channels);
#pragma unroll
    for (int k = 0; k < V; ++k) sum[k] += static_cast<double>(own.at[k]) * static_cast<double>(piece.at[k]);
  }
};

// partial[block][column]: the block's part of u . gradient.
template <int V>
__global__ void __launch_bounds__(kMostThreads)
    rayleigh_segments(int64_t rows, int64_t entries, int64_t segments, int64_t channels, int lanes,
                      const int64_t* __restrict__ first_row, const int64_t* __restrict__ indptr,
                      const int32_t* __restrict__ indices, const float* __restrict__ values,
                      const float* __restrict__ inverse_degree, const float* __restrict__ u,
                      float* __restrict__ gradient, float* __restrict__ carry, double* __restrict__ partial) {
  SG_SHARED(double, part, kMostThreads * V);
  const Place place = find_place(lanes);
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * lanes + place.lane) * V;
  Dots<V> dots{u + column, gradient + column, carry + place.group * channels + column, channels, {}};
  if (place.group < segments && column < channels) {
    walk_segment<float, float, V>(rows, entries, channels, place.group, column, first_row, indptr, indices,
                                  BalancedEntries{values, inverse_degree}, u, dots);
  }
#pragma unroll
  for (int k = 0; k < V; ++k) part[k * kMostThreads + threadIdx.x] = dots.sum[k];
  __syncthreads();
  // The first `lanes` threads have all columns of the tile; every lanes-th thread after them has the same ones.
  if (static_cast<int>(threadIdx.x) >= lanes || column >= channels) return;
#pragma unroll
  for (int k = 0; k < V; ++k) {
    double sum = 0;
    for (int thread = threadIdx.x; thread < kMostThreads; thread += lanes) sum += part[k * kMostThreads + thread];
    partial[blockIdx.x * channels + column + k] = sum;
  }
}

// result[y][column] = scale times the sum of kSumParts rows of `partial`, from y kSumParts on.
static __global__ void __launch_bounds__(kMostThreads)
    rayleigh_sum(int64_t parts, int64_t channels, double scale, const double* __restrict__ partial,
                 double* __restrict__ result) {
  SG_SHARED(double, strand_sum, kMostThreads);
  const int strand = threadIdx.x / kSumColumns;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kSumColumns + threadIdx.x % kSumColumns;
  const int64_t begin = blockIdx.y * kSumParts;
  const int64_t past = begin + kSumParts < parts ? begin + kSumParts : parts;
  double sum = 0;
  if (column < channels) {
#pragma unroll 4
    for (int64_t part = begin + strand; part < past; part += kSumStrands) sum += partial[part * channels + column];
  }
  strand_sum[threadIdx.x] = sum;
  __syncthreads();
  if (strand != 0 || column >= channels) return;
  for (int other = 1; other < kSumStrands; ++other) sum += strand_sum[other * kSumColumns + threadIdx.x];
  result[blockIdx.y * channels + column] = scale * sum;
}

inline int rayleigh_vector(int64_t channels, const float* u, const float* gradient) {
  for (const int vector : {4, 2}) {
    if (rows_aligned(u, channels, vector) && rows_aligned(gradient, channels, vector)) return vector;
  }
  return 1;
}

// The rows of `partial`: one a block.
inline int64_t rayleigh_parts(int64_t rows, int64_t entries, int64_t channels, int vector) {
  return ceil_div(segment_count(rows, entries) * lane_shape(channels, vector).lanes, kMostThreads);
}

// s = half the sum of the rows of `partial`; `scratch` has room for ceil(parts / kSumParts) rows.
inline void launch_rayleigh_sum(int64_t parts, int64_t channels, double* partial, double* scratch, double* s,
                                cudaStream_t stream) {
  const int64_t across = ceil_div(channels, kSumColumns);
  while (parts > kSumParts) {
    const int64_t fewer = ceil_div(parts, kSumParts);
    SG_LAUNCH(rayleigh_sum, make_grid("rayleigh", across, fewer), dim3(kMostThreads), 0, stream, parts, channels, 1.0,
              partial, scratch);
    std::swap(partial, scratch);
    parts = fewer;
  }
  SG_LAUNCH(rayleigh_sum, make_grid("rayleigh", across), dim3(kMostThreads), 0, stream, parts, channels, 0.5, partial,
            s);
}

struct RayleighScratch {
  int64_t* first_row;  // segments + 1
  float* carry;        // segments x channels
  double* partial;     // rayleigh_parts x channels
  double* sums;        // ceil(rayleigh_parts / kSumParts) x channels
};

template <int V>
void launch_rayleigh_vector(int64_t rows, int64_t entries, int64_t channels, const int64_t* indptr,
                            const int32_t* indices, const float* values, const float* inverse_degree, const float* u,
                            double* s, float* gradient, const RayleighScratch& scratch, cudaStream_t stream) {
  constexpr const char* kOp = "rayleigh";
  const LaneShape shape = lane_shape(channels, V);
  const int64_t segments = segment_count(rows, entries);
  if (segments > 0) {
    launch_plan(kOp, rows, entries, indptr, scratch.first_row, stream);
    SG_LAUNCH((rayleigh_segments<V>), shape.grid(kOp, segments), dim3(kMostThreads), 0, stream, rows, entries, segments,
              channels, shape.lanes, scratch.first_row, indptr, indices, values, inverse_degree, u, gradient,
              scratch.carry, scratch.partial);
    launch_joins<float, V>(kOp, segments, channels, scratch.first_row, indptr, scratch.carry, gradient, stream);
  }
  launch_rayleigh_sum(rayleigh_parts(rows, entries, channels, V), channels, scratch.partial, scratch.sums, s, stream);
}

inline void launch_rayleigh(int64_t rows, int64_t entries, int64_t channels, const int64_t* indptr,
                            const int32_t* indices, const float* values, const float* inverse_degree, const float* u,
                            double* s, float* gradient, const RayleighScratch& scratch, cudaStream_t stream) {
  if (channels == 0) return;
  const int vector = rayleigh_vector(channels, u, gradient);
  const auto launch = vector == 4   ? launch_rayleigh_vector<4>
                      : vector == 2 ? launch_rayleigh_vector<2>
                                    : launch_rayleigh_vector<1>;
  launch(rows, entries, channels, indptr, indices, values, inverse_degree, u, s, gradient, scratch, stream);
}

}  // namespace sg::cuda
