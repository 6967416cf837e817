// adam_rows_: one Adam step on the rows of a block, in place, with a step count for each row.

#include <algorithm>
#include <cmath>

#include "cpu/core/checks.h"
#include "cpu/core/parallel.h"
#include "cpu/core/simd.h"
#include "cpu/core/torch_api.h"

namespace sg {
namespace {

constexpr const char* kOp = "adam_rows_";
constexpr int64_t kTaskValues = 1 << 15;  // elements of x of a task

struct Betas {
  float beta1, beta2;  // decay rates of the moments
  float rest1, rest2;  // 1 - beta, rounded once
  float epsilon;
};

// The step with bias correction: x -= size m / (sqrt(v) / root + epsilon).
struct Size {
  float size, root;
};

using Row = void (*)(float*, float*, float*, const float*, int64_t, const Betas&, const Size&);

void row_portable(float* x, float* m, float* v, const float* gradient, int64_t count, const Betas& betas,
                  const Size& size) {
  for (int64_t c = 0; c < count; ++c) {
    const float g = gradient[c];
    m[c] = betas.beta1 * m[c] + betas.rest1 * g;
    v[c] = betas.beta2 * v[c] + betas.rest2 * g * g;
    x[c] -= size.size * m[c] / (std::sqrt(v[c]) / size.root + betas.epsilon);
  }
}

#ifdef SG_X86
struct Vectors {
  __m256 x, m, v;
};

SG_AVX2 inline Vectors step_avx2(Vectors now, __m256 g, const Betas& betas, __m256 size, __m256 per_root) {
  now.m = _mm256_fmadd_ps(_mm256_set1_ps(betas.beta1), now.m, _mm256_mul_ps(_mm256_set1_ps(betas.rest1), g));
  const __m256 square = _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(betas.rest2), g), g);
  now.v = _mm256_fmadd_ps(_mm256_set1_ps(betas.beta2), now.v, square);
  const __m256 divisor = _mm256_fmadd_ps(_mm256_sqrt_ps(now.v), per_root, _mm256_set1_ps(betas.epsilon));
  now.x = _mm256_sub_ps(now.x, _mm256_div_ps(_mm256_mul_ps(size, now.m), divisor));
  return now;
}

SG_AVX2 void row_avx2(float* x, float* m, float* v, const float* gradient, int64_t count, const Betas& betas,
                      const Size& scale) {
  const __m256 size = _mm256_set1_ps(scale.size), per_root = _mm256_set1_ps(1.0f / scale.root);
  int64_t c = 0;
  for (; c + 8 <= count; c += 8) {
    const Vectors now{_mm256_loadu_ps(x + c), _mm256_loadu_ps(m + c), _mm256_loadu_ps(v + c)};
    const Vectors next = step_avx2(now, _mm256_loadu_ps(gradient + c), betas, size, per_root);
    _mm256_storeu_ps(x + c, next.x);
    _mm256_storeu_ps(m + c, next.m);
    _mm256_storeu_ps(v + c, next.v);
  }
  if (c == count) return;
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count - c)), lanes);
  const Vectors now{_mm256_maskload_ps(x + c, mask), _mm256_maskload_ps(m + c, mask),
                    _mm256_maskload_ps(v + c, mask)};
  const Vectors next = step_avx2(now, _mm256_maskload_ps(gradient + c, mask), betas, size, per_root);
  _mm256_maskstore_ps(x + c, mask, next.x);
  _mm256_maskstore_ps(m + c, mask, next.m);
  _mm256_maskstore_ps(v + c, mask, next.v);
}
#endif

Row pick_row() {
#ifdef SG_X86
  if (has_avx2()) return row_avx2;
#endif
  return row_portable;
}

void check_beta(const char* name, double beta) {
  SG_CHECK(beta >= 0 && beta < 1, kOp, name, " must lie in [0, 1), got ", beta);
}

template <class Step>
void update(const Tensor& x, const Tensor& m, const Tensor& v, const Tensor& gradient, const Step* step,
            double learning_rate, double beta1, double beta2, double epsilon) {
  const int64_t n = x.size(0), channels = x.size(1);
  for (int64_t i = 0; i < n; ++i) {
    SG_CHECK(step[i] >= 1, kOp, "step must be at least 1, got step[", i, "] = ", step[i]);
  }
  const Betas betas{static_cast<float>(beta1), static_cast<float>(beta2), static_cast<float>(1 - beta1),
                    static_cast<float>(1 - beta2), static_cast<float>(epsilon)};
  float* to_x = x.mutable_data_ptr<float>();
  float* to_m = m.mutable_data_ptr<float>();
  float* to_v = v.mutable_data_ptr<float>();
  const float* from = gradient.const_data_ptr<float>();
  const Row row = pick_row();
  const int64_t rows = std::max<int64_t>(1, kTaskValues / std::max<int64_t>(1, channels));
  for_each_task((n + rows - 1) / rows, [&](int64_t task) {
    Size size{};
    Step known = 0;  // the rows of an image share their count, so the powers are computed once for each image
    for (int64_t i = task * rows; i < std::min(n, (task + 1) * rows); ++i) {
      if (step[i] != known) {
        known = step[i];
        const double count = static_cast<double>(known);
        size = {static_cast<float>(learning_rate / (1 - std::pow(beta1, count))),
                static_cast<float>(std::sqrt(1 - std::pow(beta2, count)))};
      }
      row(to_x + i * channels, to_m + i * channels, to_v + i * channels, from + i * channels, channels, betas, size);
    }
  });
}

void adam_rows(const Tensor& x, const Tensor& m, const Tensor& v, const Tensor& gradient, const Tensor& step,
               double learning_rate, double beta1, double beta2, double epsilon) {
  check_tensor(kOp, "x", x, 2, ScalarType::Float);
  const auto check_same = [&](const char* name, const Tensor& tensor) {
    check_tensor(kOp, name, tensor, 2, ScalarType::Float);
    SG_CHECK(tensor.size(0) == x.size(0) && tensor.size(1) == x.size(1), kOp, name, " must have the shape of x, ",
             shape_text(x), ", got ", shape_text(tensor));
  };
  check_same("m", m);
  check_same("v", v);
  check_same("gradient", gradient);
  const ScalarType type = step.scalar_type();
  SG_CHECK(type == ScalarType::Long || type == ScalarType::Float, kOp, "step must be int64 or float32, got ",
           dtype_name(type));
  check_tensor(kOp, "step", step, 1, type);
  SG_CHECK(step.size(0) == x.size(0), kOp, "step must have as many elements as x has rows, ", x.size(0), ", got ",
           step.size(0));
  check_beta("beta1", beta1);
  check_beta("beta2", beta2);
  if (type == ScalarType::Long) {
    update(x, m, v, gradient, step.const_data_ptr<int64_t>(), learning_rate, beta1, beta2, epsilon);
  } else {
    update(x, m, v, gradient, step.const_data_ptr<float>(), learning_rate, beta1, beta2, epsilon);
  }
}

}  // namespace
}  // namespace sg

STABLE_TORCH_LIBRARY_IMPL(spectral_graph, CPU, m) { m.impl("adam_rows_", TORCH_BOX(&sg::adam_rows)); }
