// Winograd's minimal filtering F(4 × 4, 3 × 3) (Lavin and Gray, arXiv 1509.09308): 16 results of a 3 × 3 convolution
// from 36 products a channel pair in place of 144. Points 0, ±1, ±2 and ∞.
#include <ATen/cpu/vec/vec.h>

#include <algorithm>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/tables.h"

namespace soundspot::kernels {
inline namespace CPU_CAPABILITY {

namespace {

using Vec = at::vec::Vectorized<float>;
constexpr int64_t kLanes = Vec::size();

/// Bᵀ d of one column or row.
void input_line(const Vec (&d)[kWinogradInput], Vec* out, int64_t stride) {
  const Vec two(2.0f), four(4.0f), five(5.0f);
  const Vec even = d[4] - four * d[2], odd = d[3] - four * d[1];
  const Vec even2 = d[4] - d[2], odd2 = two * (d[3] - d[1]);
  out[0] = four * d[0] - five * d[2] + d[4];
  out[stride] = even + odd;
  out[2 * stride] = even - odd;
  out[3 * stride] = even2 + odd2;
  out[4 * stride] = even2 - odd2;
  out[5 * stride] = four * d[1] - five * d[3] + d[5];
}

void winograd_input(const float* x, int64_t height, int64_t width, int64_t channels, int64_t row, int64_t column,
                    float* out, int64_t stride) {
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
      for (int64_t j = 0; j < kWinogradInput; ++j) line[j].store(out + (i * kWinogradInput + j) * stride + c);
    }
  }
}

/// Aᵀ m of one column or row.
void output_line(const Vec (&m)[kWinogradInput], Vec* out, int64_t stride) {
  const Vec two(2.0f), four(4.0f), eight(8.0f);
  const Vec sum = m[1] + m[2], difference = m[1] - m[2], sum2 = m[3] + m[4], difference2 = m[3] - m[4];
  out[0] = m[0] + sum + sum2;
  out[stride] = at::vec::fmadd(two, difference2, difference);
  out[2 * stride] = at::vec::fmadd(four, sum2, sum);
  out[3 * stride] = at::vec::fmadd(eight, difference2, difference) + m[5];
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
  table.winograd_input = winograd_input;
  table.winograd_output = winograd_output;
}

}  // namespace CPU_CAPABILITY
}  // namespace soundspot::kernels
