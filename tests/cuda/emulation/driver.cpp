// Runs the kernels over the emulation for a Python test. Requests come on stdin, one after the other:
//   "<operator> <size of argument> ...\n", then the bytes of the arguments
// and are answered on stdout by "ok <size> ...\n" and the bytes of the results, or by "error <text>\n".
// Every array has its own allocation of exactly its size, so that AddressSanitizer sees an access past it.

#include <sys/mman.h>

#include <cstdio>
#include <cstring>
#include <iostream>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "cuda/csr_check.cuh"
#include "cuda/csr_spmm.cuh"
#include "cuda/gram.cuh"
#include "cuda/rotate.cuh"
#include "cuda/topc_select.cuh"

namespace {

using namespace sg::cuda;

class Array {
 public:
  explicit Array(size_t bytes) : bytes_(bytes), data_(static_cast<char*>(malloc(bytes))) {}
  Array(Array&& other) noexcept : bytes_(other.bytes_), data_(std::exchange(other.data_, nullptr)) {}
  ~Array() { free(data_); }

  // Bytes that no result has: a NaN, or a negative number.
  static Array unset(size_t bytes) {
    Array array(bytes);
    std::fill_n(array.data_, bytes, static_cast<char>(0xff));
    return array;
  }
  static Array zeros(size_t bytes) {
    Array array(bytes);
    std::fill_n(array.data_, bytes, 0);
    return array;
  }

  size_t bytes() const { return bytes_; }
  char* raw() const { return data_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }
  template <class T>
  int64_t count() const {
    return static_cast<int64_t>(bytes_ / sizeof(T));
  }

 private:
  size_t bytes_;
  char* data_;
};

using Arrays = std::vector<Array>;

// indptr, indices, [columns] -> the two faults
void check(const Arrays& in, Arrays& out) {
  out.push_back(Array::zeros(16));
  launch_csr_check("csr_check", in[0].count<int64_t>() - 1, in[1].count<int32_t>(), in[2].as<int64_t>()[0],
                   in[0].as<int64_t>(), in[1].as<int32_t>(), out[0].as<unsigned long long>(), nullptr);
}

// indptr, indices, values, x, [channels, shift] -> y; x begins `shift` elements into its allocation
template <class T>
void spmm(const Arrays& in, Arrays& out) {
  const int64_t rows = in[0].count<int64_t>() - 1, entries = in[1].count<int32_t>();
  const int64_t channels = in[4].as<int64_t>()[0], shift = in[4].as<int64_t>()[1];
  const Array x(in[3].bytes() + shift * sizeof(T));
  std::copy_n(in[3].as<T>(), in[3].count<T>(), x.as<T>() + shift);
  out.push_back(Array::unset(sizeof(T) * rows * channels));
  const int64_t segments = spmm_segment_count(rows, entries);
  const Array first_row = Array::unset(sizeof(int64_t) * (segments + 1));
  const Array carry = Array::unset(sizeof(T) * segments * channels);
  launch_spmm<T>(rows, entries, channels, in[0].as<int64_t>(), in[1].as<int32_t>(), in[2].as<T>(), x.as<T>() + shift,
                 out[0].as<T>(), first_row.as<int64_t>(), carry.as<T>(), nullptr);
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
  launch_spmm<float>(1, kBatch + 1, kChannels, indptr, indices, values, x, y, first_row, carry, nullptr);
  munmap(memory, kBytes);
  out.emplace_back(2 * sizeof(float));
  out[0].as<float>()[0] = y[0];
  out[0].as<float>()[1] = y[49];
}

// [rows, entries, channels, vector] -> [segments, lanes, threads, groups, tiles]
void spmm_sizes(const Arrays& in, Arrays& out) {
  const int64_t* n = in[0].as<int64_t>();
  const SpmmShape shape = spmm_shape(n[0], n[1], n[2], static_cast<int>(n[3]));
  out.emplace_back(5 * sizeof(int64_t));
  const int64_t sizes[] = {shape.segments, shape.lanes, shape.threads, shape.groups(), shape.tiles};
  std::copy_n(sizes, 5, out[0].as<int64_t>());
}

// x, y, [rows, left, right, symmetric] -> the Gram matrix
void gram(const Arrays& in, Arrays& out) {
  const int64_t* n = in[2].as<int64_t>();
  const GramShape shape = gram_shape(n[0], n[1], n[2]);
  const Array partial = Array::unset(sizeof(double) * shape.chunks * n[1] * n[2]);
  out.push_back(Array::unset(sizeof(double) * n[1] * n[2]));
  launch_gram(shape, n[3] != 0, in[0].as<float>(), n[3] ? in[0].as<float>() : in[1].as<float>(), partial.as<double>(),
              out[0].as<double>(), nullptr);
}

// [rows, left, right] -> [chunks, chunk_rows, left_tile, right_tile, threads]
void gram_sizes(const Arrays& in, Arrays& out) {
  const int64_t* n = in[0].as<int64_t>();
  const GramShape shape = gram_shape(n[0], n[1], n[2]);
  out.emplace_back(5 * sizeof(int64_t));
  const int64_t sizes[] = {shape.chunks, shape.chunk_rows, shape.left_tile, shape.right_tile, shape.threads};
  std::copy_n(sizes, 5, out[0].as<int64_t>());
}

// x, u, [rows, channels, width] -> x u
void rotate(const Arrays& in, Arrays& out) {
  const int64_t* n = in[2].as<int64_t>();
  out.push_back(Array::unset(sizeof(float) * n[0] * n[2]));
  launch_rotate(rotate_shape(n[0], n[1], n[2]), in[0].as<float>(), in[1].as<double>(), out[0].as<float>(), nullptr);
}

// scores, image_ptr, [c_intra, c_inter, rows of a block, columns of a block], [threshold] -> indptr, indices, values
void topc(const Arrays& in, Arrays& out) {
  const int64_t images = in[1].count<int64_t>() - 1;
  const int64_t nodes = in[1].as<int64_t>()[images];
  const int64_t* n = in[2].as<int64_t>();
  const Array intra = Array::zeros(8 * nodes * n[0]), inter = Array::zeros(8 * nodes * n[1]);
  for (int64_t row = 0; row < nodes; row += n[2]) {
    for (int64_t column = 0; column < nodes; column += n[3]) {
      const int64_t rows = std::min(n[2], nodes - row), columns = std::min(n[3], nodes - column);
      const Array scores(sizeof(float) * rows * columns);
      for (int64_t i = 0; i < rows; ++i) {
        std::copy_n(in[0].as<float>() + (row + i) * nodes + column, columns, scores.as<float>() + i * columns);
      }
      const ScoreBlock block{scores.as<float>(), rows, columns, row, column};
      for (const bool inside : {true, false}) {
        launch_topc_select(block, images, in[1].as<int64_t>(), inside, n[inside ? 0 : 1], in[3].as<float>()[0],
                           (inside ? intra : inter).as<uint64_t>(), nullptr);
      }
    }
  }
  const Array counts = Array::unset(sizeof(int64_t) * nodes);
  launch_topc_count(nodes, n[0], n[1], intra.as<uint64_t>(), inter.as<uint64_t>(), counts.as<int64_t>(), nullptr);
  out.push_back(Array::zeros(sizeof(int64_t) * (nodes + 1)));
  int64_t* indptr = out[0].as<int64_t>();
  for (int64_t i = 0; i < nodes; ++i) indptr[i + 1] = indptr[i] + counts.as<int64_t>()[i];
  out.push_back(Array::unset(sizeof(int32_t) * indptr[nodes]));
  out.push_back(Array::unset(sizeof(float) * indptr[nodes]));
  launch_topc_write(nodes, n[0], n[1], intra.as<uint64_t>(), inter.as<uint64_t>(), indptr, out[1].as<int32_t>(),
                    out[2].as<float>(), nullptr);
}

// [x, y] -> the same, if there is such a grid
void grid(const Arrays& in, Arrays& out) {
  const dim3 size = make_grid("test", in[0].as<int64_t>()[0], in[0].as<int64_t>()[1]);
  out.emplace_back(2 * sizeof(int64_t));
  out[0].as<int64_t>()[0] = size.x;
  out[0].as<int64_t>()[1] = size.y;
}

using Operator = void (*)(const Arrays&, Arrays&);
const std::map<std::string, Operator> kOperators = {
    {"csr_check", check}, {"csr_spmm_float32", spmm<float>}, {"csr_spmm_float64", spmm<double>},
    {"spmm_sizes", spmm_sizes}, {"far_spmm", far_spmm}, {"gram", gram},
    {"gram_sizes", gram_sizes}, {"rotate", rotate}, {"topc", topc}, {"grid", grid}};

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream header(line);
    std::string name, reply;
    header >> name;
    Arrays in, out;
    for (size_t bytes; header >> bytes;) {
      in.emplace_back(bytes);
      std::cin.read(in.back().raw(), static_cast<std::streamsize>(bytes));
    }
    try {
      kOperators.at(name)(in, out);
      reply = "ok";
      for (const Array& array : out) reply += " " + std::to_string(array.bytes());
    } catch (const std::exception& error) {
      out.clear();
      reply = std::string("error ") + error.what();
    }
    std::cout << reply << '\n';
    for (const Array& array : out) std::cout.write(array.raw(), static_cast<std::streamsize>(array.bytes()));
    std::cout.flush();
  }
}
