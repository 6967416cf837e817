// The parts of the standard library that the kernels' sources use, since NVRTC has no headers. The host code is compiled
// too, as device code that is never called: its throws and launches expand to nothing.

typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
typedef unsigned long long uintptr_t;

namespace std {

template <class T>
constexpr const T& max(const T& a, const T& b) {
  return a < b ? b : a;
}

template <class T>
constexpr const T& min(const T& a, const T& b) {
  return b < a ? b : a;
}

struct string {};

struct ostringstream {
  template <class T>
  ostringstream& operator<<(const T&) {
    return *this;
  }
  string str() const { return {}; }
};

struct runtime_error {
  explicit runtime_error(const string&) {}
};

}  // namespace std

#define throw
