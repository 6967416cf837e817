// The c best (value, column) pairs of every row: sorted lists that take candidates in any order.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

namespace sg {

// A pair is one 64-bit key: the bits of its value (positive, so they sort as integers) above the complement of its
// column. The larger key is the better pair: higher value, or the same value and the lower column. The order is total,
// so the lists do not depend on the order of the candidates. The key 0 is a free place.
class TopLists {
 public:
  // Keeps pairs with value >= threshold and value > 0.
  TopLists(int64_t rows, int64_t places, float threshold)
      : places_(places),
        keys_(static_cast<size_t>(rows * places), 0),
        least_(static_cast<size_t>(places > 0 ? rows : 0),
               std::max(threshold, std::numeric_limits<float>::denorm_min())) {}

  bool keeps_any() const { return places_ > 0; }

  // least(row)[0] is the smallest value that can still enter the row's list; the values of the next rows follow it.
  const float* least(int64_t row) const { return least_.data() + row; }

  void offer(int64_t row, float value, int64_t column) {
    // Written so that NaN fails; `> 0` matters where the processor treats denormal numbers as zero.
    if (!(value >= least_[row] && value > 0.0f)) return;
    uint64_t* keys = keys_.data() + row * places_;
    const uint64_t key = static_cast<uint64_t>(bits(value)) << 32 | static_cast<uint32_t>(~column);
    if (key <= keys[places_ - 1]) return;
    int64_t place = places_ - 1;
    if (places_ <= 64) {
      for (; place > 0 && keys[place - 1] < key; --place) keys[place] = keys[place - 1];
    } else {
      place = std::upper_bound(keys, keys + places_, key, std::greater<uint64_t>()) - keys;
      std::memmove(keys + place + 1, keys + place, static_cast<size_t>(places_ - 1 - place) * sizeof(uint64_t));
    }
    keys[place] = key;
    const uint64_t last = keys[places_ - 1];
    if (last != 0) least_[row] = value_of(last);
  }

  int64_t count(int64_t row) const {
    const uint64_t* keys = keys_.data() + row * places_;
    return std::find(keys, keys + places_, uint64_t{0}) - keys;
  }

  int32_t column(int64_t row, int64_t place) const {
    return static_cast<int32_t>(~static_cast<uint32_t>(keys_[row * places_ + place]));
  }

  float value(int64_t row, int64_t place) const { return value_of(keys_[row * places_ + place]); }

 private:
  static uint32_t bits(float value) {
    uint32_t result;
    std::memcpy(&result, &value, sizeof result);
    return result;
  }

  static float value_of(uint64_t key) {
    const uint32_t high = static_cast<uint32_t>(key >> 32);
    float result;
    std::memcpy(&result, &high, sizeof result);
    return result;
  }

  int64_t places_;
  std::vector<uint64_t> keys_;
  std::vector<float> least_;
};

}  // namespace sg
