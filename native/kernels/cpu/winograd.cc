// Winograd's minimal filtering F(4 × 4, 3 × 3) (Lavin and Gray, arXiv 1509.09308): 16 results of a 3 × 3 convolution
// from 36 products of each pair of channels in place of 144.
#include <ATen/cpu/vec/vec.h>

#include <algorithm>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/tables.h"

namespace soundspot::kernels {
inline namespace CPU_CAPABILITY {

namespace {

using Vec = at::vec::Vectorized<float>;
constexpr int64_t kLanes = Vec::size();

constexpr float kA = kWinogradA, kA2 = kA * kA, kB = kWinogradB, kB2 = kB * kB;

/// G w of one column or row of a panel's weights.
void weight_line(const float (&w)[3][kPanel], float (&out)[kWinogradInput][kPanel]) {
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

void winograd_weight(const float* weight, int64_t in, float* out, int64_t stride) {
  for (int64_t i = 0; i < in; ++i) {
    float columns[3][3][kPanel];  // column, row
    for (int64_t o = 0; o < kPanel; ++o) {
      const float* w = weight + (o * in + i) * 9;
      for (int64_t k = 0; k < 9; ++k) columns[k % 3][k / 3][o] = w[k];
    }
    float lines[kWinogradInput][3][kPanel];  // row, column
    for (int64_t j = 0; j < 3; ++j) {
      float column[kWinogradInput][kPanel];
      weight_line(columns[j], column);
      for (int64_t r = 0; r < kWinogradInput; ++r) std::copy_n(column[r], kPanel, lines[r][j]);
    }
    for (int64_t r = 0; r < kWinogradInput; ++r) {
      float row[kWinogradInput][kPanel];
      weight_line(lines[r], row);
      for (int64_t j = 0; j < kWinogradInput; ++j) {
        std::copy_n(row[j], kPanel, out + (r * kWinogradInput + j) * stride + i * kPanel);
      }
    }
  }
}

/// Bᵀ d of one column or row.
void input_line(const Vec (&d)[kWinogradInput], Vec* out, int64_t stride) {
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

void put(const Vec& value, float* to) { value.store(to); }

#ifdef __AVX512BF16__
void put(const Vec& value, bfloat16_bits* to) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value)));
}
#endif

template <class Number>
void winograd_input(const float* x, int64_t height, int64_t width, int64_t channels, int64_t row, int64_t column,
                    Number* out, int64_t stride) {
  const float* from[kWinogradInput][kWinogradInput];
  for (int64_t i = 0; i < kWinogradInput; ++i) {
    for (int64_t j = 0; j < kWinogradInput; ++j) {
      const int64_t y = row + i - 1, z = column + j - 1;
      const bool inside = y >= 0 && y < height && z >= 0 && z < width;
      from[i][j] = inside ? x + (y * width + z) * channels : nullptr;
    }
  }
  for (int64_t c = 0; c < channels; c += kLanes) {
    Vec columns[kWinogradInput][kWinogradInput];
    for (int64_t j = 0; j < kWinogradInput; ++j) {
      Vec d[kWinogradInput];
      for (int64_t i = 0; i < kWinogradInput; ++i) d[i] = from[i][j] ? Vec::loadu(from[i][j] + c) : Vec(0.0f);
      input_line(d, &columns[0][j], kWinogradInput);
    }
    for (int64_t i = 0; i < kWinogradInput; ++i) {
      Vec line[kWinogradInput];
      input_line(columns[i], line, 1);
      for (int64_t j = 0; j < kWinogradInput; ++j) put(line[j], out + (i * kWinogradInput + j) * stride + c);
    }
  }
}

/// Aᵀ m of one column or row.
void output_line(const Vec (&m)[kWinogradInput], Vec* out, int64_t stride) {
  const Vec sum_a = m[1] + m[2], apart_a = m[1] - m[2], sum_b = m[3] + m[4], apart_b = m[3] - m[4];
  out[0] = m[0] + sum_a + sum_b;
  out[stride] = at::vec::fmadd(Vec(kA), apart_a, Vec(kB) * apart_b);
  out[2 * stride] = at::vec::fmadd(Vec(kA2), sum_a, Vec(kB2) * sum_b);
  out[3 * stride] = at::vec::fmadd(Vec(kA2 * kA), apart_a, at::vec::fmadd(Vec(kB2 * kB), apart_b, m[5]));
}

void winograd_output(const float* products, int64_t stride, const float* bias, int64_t height, int64_t width,
                     int64_t channels, int64_t row, int64_t column, bool add, bool relu, float* y) {
  const int64_t rows = std::min(kWinogradOutput, height - row), columns = std::min(kWinogradOutput, width - column);
  for (int64_t c = 0; c < channels; c += kLanes) {
    Vec lines[kWinogradOutput][kWinogradInput];
    for (int64_t j = 0; j < kWinogradInput; ++j) {
      Vec m[kWinogradInput];
      for (int64_t i = 0; i < kWinogradInput; ++i) m[i] = Vec::loadu(products + (i * kWinogradInput + j) * stride + c);
      output_line(m, &lines[0][j], kWinogradInput);
    }
    const Vec shift = Vec::loadu(bias + c), zero(0.0f);
    for (int64_t i = 0; i < rows; ++i) {
      Vec line[kWinogradOutput];
      output_line(lines[i], line, 1);
      for (int64_t j = 0; j < columns; ++j) {
        float* to = y + ((row + i) * width + column + j) * channels + c;
        Vec value = line[j] + shift;
        if (add) value = value + Vec::loadu(to);
        (relu ? at::vec::maximum(value, zero) : value).store(to);
      }
    }
  }
}

}  // namespace

void fill_winograd(Kernels& table) {
  table.winograd_weight = winograd_weight;
  table.winograd_input = winograd_input<float>;
  table.winograd_output = winograd_output;
#ifdef __AVX512BF16__
  table.winograd_input_half = winograd_input<bfloat16_bits>;
#endif
}

}  // namespace CPU_CAPABILITY
}  // namespace soundspot::kernels
