// What the families of operators share: arrays that come and go, and the table of the operators.
// Every array has its own allocation of exactly its size, so that AddressSanitizer sees an access past it.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <utility>
#include <vector>

class Array {
 public:
  explicit Array(size_t bytes) : bytes_(bytes), data_(static_cast<char*>(malloc(bytes))) {}
  Array(Array&& other) noexcept : bytes_(other.bytes_), data_(std::exchange(other.data_, nullptr)) {}
  ~Array() { free(data_); }

  // Bytes that no result has: a NaN, or a negative number.
  template <class T>
  static Array unset(int64_t count) {
    return filled(count * sizeof(T), static_cast<char>(0xff));
  }
  template <class T>
  static Array zeros(int64_t count) {
    return filled(count * sizeof(T), 0);
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
  static Array filled(size_t bytes, char byte) {
    Array array(bytes);
    std::fill_n(array.data_, bytes, byte);
    return array;
  }

  size_t bytes_;
  char* data_;
};

using Arrays = std::vector<Array>;
using Operator = void (*)(const Arrays&, Arrays&);

// A global of this type puts an operator into the table.
struct Entry {
  Entry(const char* name, Operator run);
};
