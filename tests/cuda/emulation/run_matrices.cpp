// csr_check, csr_transpose, csr_symmetrise and csr_sddmm. The sorts and sums that the host sides leave to torch are
// done by the standard library here.

#include <numeric>

#include "cuda/csr_check.cuh"
#include "cuda/csr_sddmm.cuh"
#include "cuda/csr_symmetrise.cuh"
#include "cuda/csr_transpose.cuh"
#include "driver.h"

namespace {

using namespace sg::cuda;

// indptr, indices, [columns] -> falls, outside, first, last
void check(const Arrays& in, Arrays& out) {
  out.push_back(Array::zeros<CsrReport>(1));
  launch_csr_check("csr_check", in[0].count<int64_t>() - 1, in[1].count<int32_t>(), in[2].as<int64_t>()[0],
                   in[0].as<int64_t>(), in[1].as<int32_t>(), out[0].as<CsrReport>(), nullptr);
}

struct Matrix {
  Array indptr, indices, values, row_of;
  int64_t rows, entries;
};

// The transpose; `row_of` is the row of each entry of the matrix.
Matrix transposed(const Array& indices, const Array& values, const Array& row_of, int64_t columns) {
  const int64_t entries = indices.count<int32_t>();
  const int32_t* names = indices.as<int32_t>();
  const Array order(entries * sizeof(int64_t));
  std::iota(order.as<int64_t>(), order.as<int64_t>() + entries, int64_t{0});
  std::stable_sort(order.as<int64_t>(), order.as<int64_t>() + entries,
                   [&](int64_t a, int64_t b) { return names[a] < names[b]; });
  Matrix to{Array::unset<int64_t>(columns + 1), Array::unset<int32_t>(entries), Array::unset<float>(entries),
            Array(entries * sizeof(int32_t)), columns, entries};
  for (int64_t p = 0; p < entries; ++p) to.row_of.as<int32_t>()[p] = names[order.as<int64_t>()[p]];
  launch_transpose_starts("test", columns, entries, to.row_of.as<int32_t>(), to.indptr.as<int64_t>(), nullptr);
  launch_transpose_entries("test", entries, order.as<int64_t>(), row_of.as<int32_t>(), values.as<float>(),
                           to.indices.as<int32_t>(), to.values.as<float>(), nullptr);
  return to;
}

// The row of each entry, and 1 if some row is not sorted.
std::pair<Array, uint64_t> find_rows(const Array& indptr, const Array& indices) {
  Array row_of = Array::unset<int32_t>(indices.count<int32_t>());
  const Array unsorted = Array::zeros<unsigned long long>(1);
  launch_entry_rows("test", indptr.count<int64_t>() - 1, indices.count<int32_t>(), indptr.as<int64_t>(),
                    indices.as<int32_t>(), row_of.as<int32_t>(), unsorted.as<unsigned long long>(), nullptr);
  return {std::move(row_of), unsorted.as<unsigned long long>()[0]};
}

// indptr, indices, values, [columns] -> indptr, indices, values of the transpose
void transpose(const Arrays& in, Arrays& out) {
  const auto [row_of, unsorted] = find_rows(in[0], in[1]);
  Matrix to = transposed(in[1], in[2], row_of, in[3].as<int64_t>()[0]);
  out.push_back(std::move(to.indptr));
  out.push_back(std::move(to.indices));
  out.push_back(std::move(to.values));
}

Array summed(const Array& kept) {
  const int64_t count = kept.count<int32_t>();
  Array before = Array::zeros<int64_t>(count + 1);
  for (int64_t p = 0; p < count; ++p) before.as<int64_t>()[p + 1] = before.as<int64_t>()[p] + kept.as<int32_t>()[p];
  return before;
}

// indptr, indices, values -> indptr, indices, values, degree, [1 if some row was not sorted]
void symmetrise(const Arrays& in, Arrays& out) {
  const int64_t n = in[0].count<int64_t>() - 1, entries = in[1].count<int32_t>();
  const auto [row_of, unsorted] = find_rows(in[0], in[1]);
  const Matrix turned = transposed(in[1], in[2], row_of, n);
  const Matrix again = transposed(turned.indices, turned.values, turned.row_of, n);
  SortedSide sides[2] = {{in[0].as<int64_t>(), in[1].as<int32_t>(), in[2].as<float>(), row_of.as<int32_t>(), nullptr},
                         {turned.indptr.as<int64_t>(), turned.indices.as<int32_t>(), turned.values.as<float>(),
                          turned.row_of.as<int32_t>(), nullptr}};
  if (unsorted) {
    sides[0] = {again.indptr.as<int64_t>(), again.indices.as<int32_t>(), again.values.as<float>(),
                again.row_of.as<int32_t>(), nullptr};
  }
  Arrays before;
  for (int k = 0; k < 2; ++k) {
    const Array kept = Array::unset<int32_t>(entries);
    launch_union_keep(entries, sides[k], sides[1 - k], k == 1, kept.as<int32_t>(), nullptr);
    before.push_back(summed(kept));
  }
  for (int k = 0; k < 2; ++k) sides[k].kept_before = before[k].as<int64_t>();
  out.push_back(Array::unset<int64_t>(n + 1));
  const int64_t* starts = out[0].as<int64_t>();
  launch_union_starts(n, sides[0], sides[1], out[0].as<int64_t>(), nullptr);
  out.push_back(Array::unset<int32_t>(starts[n]));
  out.push_back(Array::unset<float>(starts[n]));
  out.push_back(Array::unset<float>(n));
  launch_union_write(n, entries, sides[0], sides[1], starts, out[1].as<int32_t>(), out[2].as<float>(),
                     out[3].as<float>(), nullptr);
  out.push_back(Array::zeros<int64_t>(1));
  out[4].as<int64_t>()[0] = static_cast<int64_t>(unsorted);
}

// indptr, indices, a, b, [channels] -> values
template <class T>
void sddmm(const Arrays& in, Arrays& out) {
  out.push_back(Array::unset<T>(in[1].count<int32_t>()));
  launch_sddmm<T>(in[0].count<int64_t>() - 1, in[1].count<int32_t>(), in[4].as<int64_t>()[0], in[0].as<int64_t>(),
                  in[1].as<int32_t>(), in[2].as<T>(), in[3].as<T>(), out[0].as<T>(), nullptr);
}

const Entry entries[] = {{"csr_check", check},
                         {"csr_transpose", transpose},
                         {"csr_symmetrise", symmetrise},
                         {"csr_sddmm_float32", sddmm<float>},
                         {"csr_sddmm_float64", sddmm<double>}};

}  // namespace
