// Batch norm with ReLU and residual, and max pooling, forward and backward, over channels-last memory. The loops over
// channels are written for the compiler to vectorise.
#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/tables.h"

namespace soundspot::kernels {
inline namespace CPU_CAPABILITY {

namespace {

constexpr int64_t kBlock = 64;  // channels at a time, whose sums stay in registers or the nearest cache

inline float widened(float value) { return value; }
inline float widened(bfloat16_bits value) { return std::bit_cast<float>(static_cast<uint32_t>(value) << 16); }

inline void put(float value, float& to) { to = value; }
/// To the nearest bfloat16, ties to even.
inline void put(float value, bfloat16_bits& to) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto rounded = static_cast<bfloat16_bits>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
  to = value == value ? rounded : bfloat16_bits{0x7fc0};
}

/// Rows whose sums are kept in float before they go into double: sums of many rows then hardly depend on how rows are
/// shared out over threads and processes.
constexpr int64_t kRun = 16;

template <class Number>
void moments(const Number* x, int64_t rows, int64_t channels, double* mean, double* squares) {
  for (int64_t from = 0; from < channels; from += kBlock) {
    const int64_t count = std::min(kBlock, channels - from);
    double means[kBlock] = {}, powers[kBlock] = {};
    for (int64_t begin = 0; begin < rows; begin += kRun) {
      const int64_t end = std::min(rows, begin + kRun);
      // Around the first row: a mean far from 0 then costs the variance no precision.
      const Number* const first = x + begin * channels + from;
      float sum[kBlock] = {}, power[kBlock] = {};
      for (int64_t row = begin + 1; row < end; ++row) {
        const Number* const values = x + row * channels + from;
        for (int64_t c = 0; c < count; ++c) {
          const float apart = widened(values[c]) - widened(first[c]);
          sum[c] += apart;
          power[c] += apart * apart;
        }
      }
      // Joined to the rows before (Chan, Golub and LeVeque, 1979).
      const auto of = static_cast<double>(end - begin), all = static_cast<double>(end);
      const double share = of / all, spread = static_cast<double>(begin) * of / all;
      for (int64_t c = 0; c < count; ++c) {
        const double added = sum[c], apart = static_cast<double>(widened(first[c])) + added / of - means[c];
        means[c] += apart * share;
        powers[c] += power[c] - added * added / of + apart * apart * spread;
      }
    }
    for (int64_t c = 0; c < count; ++c) {
      mean[from + c] = means[c];
      squares[from + c] = std::max(powers[c], 0.0);
    }
  }
}

template <class Number, bool Residual, bool Relu>
void normalize_rows(const Number* __restrict x, const float* __restrict scale, const float* __restrict shift,
                    const Number* __restrict residual, int64_t rows, int64_t channels, Number* __restrict y) {
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t at = row * channels;
    for (int64_t c = 0; c < channels; ++c) {
      float value = widened(x[at + c]) * scale[c] + shift[c];
      if constexpr (Residual) value += widened(residual[at + c]);
      // Not a number stays what it is: a loss that is not finite must be seen.
      if constexpr (Relu) value = value < 0 ? 0.0f : value;
      put(value, y[at + c]);
    }
  }
}

template <class Number>
void normalize(const Number* x, const float* scale, const float* shift, const Number* residual, bool relu, int64_t rows,
               int64_t channels, Number* y) {
  if (residual && relu) return normalize_rows<Number, true, true>(x, scale, shift, residual, rows, channels, y);
  if (residual) return normalize_rows<Number, true, false>(x, scale, shift, residual, rows, channels, y);
  if (relu) return normalize_rows<Number, false, true>(x, scale, shift, residual, rows, channels, y);
  normalize_rows<Number, false, false>(x, scale, shift, residual, rows, channels, y);
}

template <class Number, bool Relu>
inline float passed_gradient(const Number* gradient, const Number* y, int64_t at) {
  const float value = widened(gradient[at]);
  if constexpr (Relu) return widened(y[at]) <= 0 ? 0.0f : value;
  return value;
}

template <class Number, bool Relu>
void gradient_sum_rows(const Number* __restrict x, const Number* __restrict gradient, const Number* __restrict y,
                       const float* __restrict mean, int64_t rows, int64_t channels, double* __restrict sums,
                       double* __restrict products) {
  for (int64_t from = 0; from < channels; from += kBlock) {
    const int64_t count = std::min(kBlock, channels - from);
    double all[kBlock] = {}, all_products[kBlock] = {};
    for (int64_t begin = 0; begin < rows; begin += kRun) {
      float sum[kBlock] = {}, product[kBlock] = {};
      for (int64_t row = begin; row < std::min(rows, begin + kRun); ++row) {
        const int64_t at = row * channels + from;
        for (int64_t c = 0; c < count; ++c) {
          const float passed = passed_gradient<Number, Relu>(gradient, y, at + c);
          sum[c] += passed;
          product[c] += passed * (widened(x[at + c]) - mean[from + c]);
        }
      }
      for (int64_t c = 0; c < count; ++c) {
        all[c] += sum[c];
        all_products[c] += product[c];
      }
    }
    std::copy_n(all, count, sums + from);
    std::copy_n(all_products, count, products + from);
  }
}

template <class Number>
void gradient_sums(const Number* x, const Number* gradient, const Number* y, const float* mean, int64_t rows,
                   int64_t channels, double* sums, double* products) {
  if (y) return gradient_sum_rows<Number, true>(x, gradient, y, mean, rows, channels, sums, products);
  gradient_sum_rows<Number, false>(x, gradient, y, mean, rows, channels, sums, products);
}

template <class Number, bool Relu, bool Passed>
void denormalize_rows(const Number* __restrict x, const Number* __restrict gradient, const Number* __restrict y,
                      const float* __restrict mean, const float* __restrict scale, const float* __restrict offset,
                      const float* __restrict slope, int64_t rows, int64_t channels, Number* __restrict dx,
                      Number* __restrict passed) {
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t at = row * channels;
    for (int64_t c = 0; c < channels; ++c) {
      const float value = passed_gradient<Number, Relu>(gradient, y, at + c);
      if constexpr (Passed) put(value, passed[at + c]);
      put(scale[c] * (value - offset[c] - (widened(x[at + c]) - mean[c]) * slope[c]), dx[at + c]);
    }
  }
}

template <class Number>
void denormalize(const Number* x, const Number* gradient, const Number* y, const float* mean, const float* scale,
                 const float* offset, const float* slope, int64_t rows, int64_t channels, Number* dx, Number* passed) {
  const auto run = [&]<bool Relu, bool Passed>() {
    denormalize_rows<Number, Relu, Passed>(x, gradient, y, mean, scale, offset, slope, rows, channels, dx, passed);
  };
  if (y && passed) return run.template operator()<true, true>();
  if (y) return run.template operator()<true, false>();
  if (passed) return run.template operator()<false, true>();
  run.template operator()<false, false>();
}

template <class Number>
void max_pool(const Number* in, int64_t height, int64_t width, int64_t channels, Number* out, uint8_t* index,
              int64_t begin, int64_t end) {
  const int64_t out_width = (width + 1) / 2;
  for (int64_t y = begin; y < end; ++y) {
    for (int64_t x = 0; x < out_width; ++x) {
      Number* __restrict to = out + (y * out_width + x) * channels;
      uint8_t* __restrict which = index + (y * out_width + x) * channels;
      bool first = true;
      for (int64_t place = 0; place < 9; ++place) {
        const int64_t row = 2 * y - 1 + place / 3, column = 2 * x - 1 + place % 3;
        if (row < 0 || row >= height || column < 0 || column >= width) continue;
        const Number* __restrict from = in + (row * width + column) * channels;
        if (first) {
          std::copy_n(from, channels, to);
          std::fill_n(which, channels, static_cast<uint8_t>(place));
          first = false;
          continue;
        }
        for (int64_t c = 0; c < channels; ++c) {
          const float value = widened(from[c]);
          const bool more = !(value <= widened(to[c]));  // not a number wins, as in LibTorch
          to[c] = more ? from[c] : to[c];
          which[c] = more ? static_cast<uint8_t>(place) : which[c];
        }
      }
    }
  }
}

template <class Number>
void max_pool_gradient(const Number* gradient, const uint8_t* index, int64_t height, int64_t width, int64_t channels,
                       Number* out, int64_t begin, int64_t end) {
  const int64_t out_height = (height + 1) / 2, out_width = (width + 1) / 2;
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t column = 0; column < width; ++column) {
      // The windows that hold this pixel: those around row / 2 and column / 2.
      Number* __restrict to = out + (row * width + column) * channels;
      for (int64_t from = 0; from < channels; from += kBlock) {
        const int64_t count = std::min(kBlock, channels - from);
        float sums[kBlock] = {};
        for (int64_t y = row / 2; y <= std::min((row + 1) / 2, out_height - 1); ++y) {
          for (int64_t x = column / 2; x <= std::min((column + 1) / 2, out_width - 1); ++x) {
            const auto place = static_cast<uint8_t>(3 * (row - 2 * y + 1) + column - 2 * x + 1);
            const int64_t at = (y * out_width + x) * channels + from;
            for (int64_t c = 0; c < count; ++c) {
              sums[c] += index[at + c] == place ? widened(gradient[at + c]) : 0.0f;
            }
          }
        }
        for (int64_t c = 0; c < count; ++c) put(sums[c], to[from + c]);
      }
    }
  }
}

template <class Number>
TrainingKernels<Number> filled() {
  return {.moments = moments<Number>,
          .normalize = normalize<Number>,
          .gradient_sums = gradient_sums<Number>,
          .denormalize = denormalize<Number>,
          .max_pool = max_pool<Number>,
          .max_pool_gradient = max_pool_gradient<Number>};
}

}  // namespace

void fill_normalization(Kernels& table) {
  table.full = filled<float>();
  table.half = filled<bfloat16_bits>();
}

}  // namespace CPU_CAPABILITY
}  // namespace soundspot::kernels
