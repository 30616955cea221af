// Winograd's minimal filtering (Lavin and Gray, arXiv 1509.09308): F(4 × 4, 3 × 3) makes 16 results of a 3 × 3
// convolution from 36 products of each pair of channels in place of 144, F(2 × 2, 3 × 3) 4 results from 16 in place
// of 36.
#include <algorithm>

#include "kernels/cpu/tables.h"
#include "kernels/cpu/vectors.h"

namespace soundspot::kernels {
inline namespace CPU_CAPABILITY {

namespace {

/// The transforms of one column or row of a tile with this many results; both ways of a tile are made of them.
template <int64_t kOutput>
struct Line;

/// It interpolates at 0, ±a, ±b and ∞. These a and b lose a third of what the usual 1 and 2 lose to rounding.
template <>
struct Line<4> {
  static constexpr int64_t kInput = 6;
  static constexpr float kA = 11.0f / 16, kB = 3.0f / 2, kA2 = kA * kA, kB2 = kB * kB;

  /// G w, for a panel's outputs.
  static void weight(const float (&w)[3][kPanel], float (&out)[kInput][kPanel]) {
    constexpr float of_a = 2 * kA2 * (kA2 - kB2), of_b = 2 * kB2 * (kB2 - kA2);
    for (int64_t o = 0; o < kPanel; ++o) {
      const float even_a = (w[0][o] + kA2 * w[2][o]) / of_a, odd_a = kA * w[1][o] / of_a;
      const float even_b = (w[0][o] + kB2 * w[2][o]) / of_b, odd_b = kB * w[1][o] / of_b;
      out[0][o] = w[0][o] / (kA2 * kB2);
      out[1][o] = even_a + odd_a;
      out[2][o] = even_a - odd_a;
      out[3][o] = even_b + odd_b;
      out[4][o] = even_b - odd_b;
      out[5][o] = w[2][o];
    }
  }

  /// Bᵀ d.
  static void input(const Vec (&d)[kInput], Vec* out, int64_t stride) {
    const Vec both(-kA2 - kB2), product(kA2 * kB2);
    const Vec even_a = at::vec::fmadd(Vec(-kB2), d[2], d[4]), odd_a = Vec(kA) * at::vec::fmadd(Vec(-kB2), d[1], d[3]);
    const Vec even_b = at::vec::fmadd(Vec(-kA2), d[2], d[4]), odd_b = Vec(kB) * at::vec::fmadd(Vec(-kA2), d[1], d[3]);
    out[0] = at::vec::fmadd(product, d[0], at::vec::fmadd(both, d[2], d[4]));
    out[stride] = even_a + odd_a;
    out[2 * stride] = even_a - odd_a;
    out[3 * stride] = even_b + odd_b;
    out[4 * stride] = even_b - odd_b;
    out[5 * stride] = at::vec::fmadd(product, d[1], at::vec::fmadd(both, d[3], d[5]));
  }

  /// Aᵀ m.
  static void output(const Vec (&m)[kInput], Vec* out, int64_t stride) {
    const Vec sum_a = m[1] + m[2], apart_a = m[1] - m[2], sum_b = m[3] + m[4], apart_b = m[3] - m[4];
    out[0] = m[0] + sum_a + sum_b;
    out[stride] = at::vec::fmadd(Vec(kA), apart_a, Vec(kB) * apart_b);
    out[2 * stride] = at::vec::fmadd(Vec(kA2), sum_a, Vec(kB2) * sum_b);
    out[3 * stride] = at::vec::fmadd(Vec(kA2 * kA), apart_a, at::vec::fmadd(Vec(kB2 * kB), apart_b, m[5]));
  }
};

/// It interpolates at 0, ±1 and ∞.
template <>
struct Line<2> {
  static constexpr int64_t kInput = 4;

  static void weight(const float (&w)[3][kPanel], float (&out)[kInput][kPanel]) {
    for (int64_t o = 0; o < kPanel; ++o) {
      const float even = (w[0][o] + w[2][o]) / 2, odd = w[1][o] / 2;
      out[0][o] = w[0][o];
      out[1][o] = even + odd;
      out[2][o] = even - odd;
      out[3][o] = w[2][o];
    }
  }

  static void input(const Vec (&d)[kInput], Vec* out, int64_t stride) {
    out[0] = d[0] - d[2];
    out[stride] = d[2] + d[1];
    out[2 * stride] = d[2] - d[1];
    out[3 * stride] = d[3] - d[1];
  }

  static void output(const Vec (&m)[kInput], Vec* out, int64_t stride) {
    out[0] = m[0] + m[1] + m[2];
    out[stride] = m[1] - m[2] + m[3];
  }
};

template <int64_t kOutput>
void winograd_weight(const float* weight, int64_t in, float* out, int64_t stride) {
  constexpr int64_t kInput = Line<kOutput>::kInput;
  for (int64_t i = 0; i < in; ++i) {
    float columns[3][3][kPanel];  // column, row
    for (int64_t o = 0; o < kPanel; ++o) {
      const float* w = weight + (o * in + i) * 9;
      for (int64_t k = 0; k < 9; ++k) columns[k % 3][k / 3][o] = w[k];
    }
    float lines[kInput][3][kPanel];  // row, column
    for (int64_t j = 0; j < 3; ++j) {
      float column[kInput][kPanel];
      Line<kOutput>::weight(columns[j], column);
      for (int64_t r = 0; r < kInput; ++r) std::copy_n(column[r], kPanel, lines[r][j]);
    }
    for (int64_t r = 0; r < kInput; ++r) {
      float row[kInput][kPanel];
      Line<kOutput>::weight(lines[r], row);
      for (int64_t j = 0; j < kInput; ++j) {
        std::copy_n(row[j], kPanel, out + (r * kInput + j) * stride + i * kPanel);
      }
    }
  }
}

void put(const Vec& value, float* to) { value.store(to); }

#ifdef __AVX512BF16__
void put(const Vec& value, bfloat16_bits* to) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value)));
}
#endif

template <int64_t kOutput, class Number>
void winograd_input(const float* x, int64_t height, int64_t width, int64_t channels, int64_t row, int64_t column,
                    Number* out, int64_t stride) {
  constexpr int64_t kInput = Line<kOutput>::kInput;
  const float* from[kInput][kInput];
  for (int64_t i = 0; i < kInput; ++i) {
    for (int64_t j = 0; j < kInput; ++j) {
      const int64_t y = row + i - 1, z = column + j - 1;
      const bool inside = y >= 0 && y < height && z >= 0 && z < width;
      from[i][j] = inside ? x + (y * width + z) * channels : nullptr;
    }
  }
  for (int64_t c = 0; c < channels; c += kLanes) {
    Vec columns[kInput][kInput];
    for (int64_t j = 0; j < kInput; ++j) {
      Vec d[kInput];
      for (int64_t i = 0; i < kInput; ++i) d[i] = from[i][j] ? Vec::loadu(from[i][j] + c) : Vec(0.0f);
      Line<kOutput>::input(d, &columns[0][j], kInput);
    }
    for (int64_t i = 0; i < kInput; ++i) {
      Vec line[kInput];
      Line<kOutput>::input(columns[i], line, 1);
      for (int64_t j = 0; j < kInput; ++j) put(line[j], out + (i * kInput + j) * stride + c);
    }
  }
}

template <int64_t kOutput>
void winograd_output(const float* products, int64_t stride, const float* bias, int64_t height, int64_t width,
                     int64_t channels, int64_t row, int64_t column, bool add, bool relu, float* y) {
  constexpr int64_t kInput = Line<kOutput>::kInput;
  const int64_t rows = std::min(kOutput, height - row), columns = std::min(kOutput, width - column);
  for (int64_t c = 0; c < channels; c += kLanes) {
    Vec lines[kOutput][kInput];
    for (int64_t j = 0; j < kInput; ++j) {
      Vec m[kInput];
      for (int64_t i = 0; i < kInput; ++i) m[i] = Vec::loadu(products + (i * kInput + j) * stride + c);
      Line<kOutput>::output(m, &lines[0][j], kInput);
    }
    const Vec shift = Vec::loadu(bias + c), zero(0.0f);
    for (int64_t i = 0; i < rows; ++i) {
      Vec line[kOutput];
      Line<kOutput>::output(lines[i], line, 1);
      for (int64_t j = 0; j < columns; ++j) {
        float* to = y + ((row + i) * width + column + j) * channels + c;
        Vec value = line[j] + shift;
        if (add) value = value + Vec::loadu(to);
        (relu ? at::vec::maximum(value, zero) : value).store(to);
      }
    }
  }
}

template <int64_t kOutput>
WinogradKernels tile() {
  WinogradKernels kernels{
      .weight = winograd_weight<kOutput>, .input = winograd_input<kOutput, float>, .output = winograd_output<kOutput>};
#ifdef __AVX512BF16__
  kernels.input_half = winograd_input<kOutput, bfloat16_bits>;
#endif
  return kernels;
}

}  // namespace

void fill_winograd(Kernels& table) {
  table.winograd_2 = tile<2>();
  table.winograd_4 = tile<4>();
}

}  // namespace CPU_CAPABILITY
}  // namespace soundspot::kernels
