// cosine_topc: the c best candidates of each query by exact cosine (re-ranking).
//
// One warp handles one query, 32 candidates at a time, and appends those that may enter its list to a buffer in shared
// memory, as in topc_select.

#pragma once

#include "cuda/row_dots.cuh"
#include "cuda/topc_list.cuh"

namespace sg::cuda {

// Maps signed node numbers to unsigned columns of a pair key in the same order.
__device__ __forceinline__ uint32_t ordered_name(int32_t name) { return static_cast<uint32_t>(name) ^ 0x80000000u; }

struct CosineShape {
  int64_t queries, depth, most;  // candidates of a query at most
  int64_t c;
  float threshold;
};

template <class X, int V>
__global__ void __launch_bounds__(kSelectWarps* kWarp)
    cosine_topc_rows(CosineShape shape, int places, int capacity, const float* __restrict__ query,
                     const X* __restrict__ rows, const float* __restrict__ mean, const float* __restrict__ inverse_norm,
                     const int32_t* __restrict__ node, const int32_t* __restrict__ candidates,
                     int32_t* __restrict__ columns, float* __restrict__ values) {
  SG_DYNAMIC_SHARED(uint64_t, shared);
  const int lane = threadIdx.x & (kWarp - 1), warp = threadIdx.x / kWarp;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (blockDim.x / kWarp) + warp;
  if (row >= shape.queries) return;  // a whole warp
  WarpList list = empty_list(shared, warp, lane, places, capacity);
  const UnitRows<X> unit{{rows}, mean, inverse_norm};
#pragma unroll 1
  for (int64_t base = 0; base < shape.most; base += kWarp) {
    const int64_t p = base + lane;
    const int count = shape.most - base < kWarp ? static_cast<int>(shape.most - base) : kWarp;
    const int64_t at = p < shape.most ? candidates[row * shape.most + p] : -1;
    const float value = row_dots<V>(query + row * shape.depth, unit, shape.depth, at, count, lane);
    const bool good = at >= 0 && value > 0.0f && value >= shape.threshold;  // NaN is not
    const uint64_t key = good ? pair_key(value, ordered_name(node[at])) : 0;
    list.append(key > list.least(), key);  // at least 0: an empty place
    if (list.full_after(kWarp)) list.merge();
  }
  if (list.waiting > 0) list.merge();
  const auto name_of = [](uint32_t column) { return static_cast<int32_t>(column ^ 0x80000000u); };
  write_list(list, row, shape.c, name_of, columns, values);
}

template <class X>
void launch_cosine_topc(const CosineShape& shape, const float* query, const X* rows, const float* mean,
                        const float* inverse_norm, const int32_t* node, const int32_t* candidates, int32_t* columns,
                        float* values, cudaStream_t stream) {
  if (shape.queries == 0 || shape.c == 0) return;
  const int64_t places = list_places(shape.c, shape.most);
  const SelectShape select = select_shape(places + 2 * kWarp);
  const bool aligned = dots_aligned(query, rows, shape.depth) && rows_aligned(mean, shape.depth, 4);
  const auto kernel = aligned ? cosine_topc_rows<X, 4> : cosine_topc_rows<X, 1>;
  SG_LAUNCH(kernel, make_grid("cosine_topc", ceil_div(shape.queries, select.warps)), dim3(select.warps * kWarp),
            select.shared(), stream, shape, static_cast<int>(places), select.capacity, query, rows, mean, inverse_norm,
            node, candidates, columns, values);
}

}  // namespace sg::cuda
