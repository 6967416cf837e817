// cell_topc: for every query the c best keys of the cells that it probes (inverted file search).
//
// One warp works on one query and walks its cells, 32 keys at a time; what may enter its list goes to a buffer in
// shared memory, as in topc_select. A key is read once for each query that probes its cell, where tiles of many queries
// of one cell would share it. They would need the queries sorted by cell and the lists of a query's cells merged after;
// this is the plain form, and what it costs has not been measured.

#pragma once

#include "cuda/row_dots.cuh"
#include "cuda/topc_list.cuh"

namespace sg::cuda {

struct CellShape {
  int64_t queries, depth, probed;  // cells of a query at most
  int64_t c;
};

template <class X, int V>
__global__ void __launch_bounds__(kSelectWarps* kWarp)
    cell_topc_rows(CellShape shape, int places, int capacity, const float* __restrict__ query,
                   const int32_t* __restrict__ query_image, const X* __restrict__ keys,
                   const int32_t* __restrict__ key_image, const int64_t* __restrict__ cell_ptr,
                   const int32_t* __restrict__ probes, int32_t* __restrict__ columns, float* __restrict__ values) {
  SG_DYNAMIC_SHARED(uint64_t, shared);
  const int lane = threadIdx.x & (kWarp - 1), warp = threadIdx.x / kWarp;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (blockDim.x / kWarp) + warp;
  if (row >= shape.queries) return;  // a whole warp
  WarpList list = empty_list(shared, warp, lane, places, capacity);
  const StoredRows<X> stored{keys};
  const int32_t image = query_image[row];
#pragma unroll 1
  for (int64_t j = 0; j < shape.probed; ++j) {
    const int32_t cell = probes[row * shape.probed + j];
    if (cell < 0) continue;  // in all lanes
    const int64_t past = cell_ptr[cell + 1];
#pragma unroll 1
    for (int64_t base = cell_ptr[cell]; base < past; base += kWarp) {
      const int64_t p = base + lane;
      const int count = past - base < kWarp ? static_cast<int>(past - base) : kWarp;
      const int64_t at = p < past && key_image[p] != image ? p : -1;
      const float value = row_dots<V>(query + row * shape.depth, stored, shape.depth, at, count, lane);
      const uint64_t key = at >= 0 ? pair_key(value, at) : 0;
      list.append(key > list.least(), key);  // at least 0: an empty place
      if (list.full_after(kWarp)) list.merge();
    }
  }
  if (list.waiting > 0) list.merge();
  write_list(list, row, shape.c, [](uint32_t column) { return static_cast<int32_t>(column); }, columns, values);
}

template <class X>
void launch_cell_topc(const CellShape& shape, int64_t key_count, const float* query, const int32_t* query_image,
                      const X* keys, const int32_t* key_image, const int64_t* cell_ptr, const int32_t* probes,
                      int32_t* columns, float* values, cudaStream_t stream) {
  if (shape.queries == 0 || shape.c == 0) return;
  const int64_t places = list_places(shape.c, key_count);
  const SelectShape select = select_shape(places + 2 * kWarp);
  const auto kernel = dots_aligned(query, keys, shape.depth) ? cell_topc_rows<X, 4> : cell_topc_rows<X, 1>;
  SG_LAUNCH(kernel, make_grid("cell_topc", ceil_div(shape.queries, select.warps)), dim3(select.warps * kWarp),
            select.shared(), stream, shape, static_cast<int>(places), select.capacity, query, query_image, keys,
            key_image, cell_ptr, probes, columns, values);
}

}  // namespace sg::cuda
