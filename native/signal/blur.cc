#include "signal/blur.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

namespace soundspot::signal {
namespace {

void add_scaled(float* __restrict sum, const float* __restrict values, float weight, int64_t count) {
  for (int64_t i = 0; i < count; ++i) sum[i] += weight * values[i];
}

/// `size` pixels that lie `stride` bytes apart, through `line` of the same number.
void mean_of_line(uint8_t* pixels, int64_t size, int64_t stride, const ImageChange& box, std::vector<uint8_t>& line) {
  const auto at = [&](int64_t i) { return pixels + std::clamp<int64_t>(i, 0, size - 1) * stride; };
  std::array<uint32_t, 3> sum{};  // of the values inside the box
  for (int64_t i = -box.radius; i <= box.radius; ++i) {
    for (int64_t channel = 0; channel < 3; ++channel) sum[channel] += at(i)[channel];
  }
  for (int64_t i = 0; i < size; ++i) {
    const uint8_t* const before = at(i - box.radius - 1);
    const uint8_t* const after = at(i + box.radius + 1);
    const uint8_t* const leaving = at(i - box.radius);
    for (int64_t channel = 0; channel < 3; ++channel) {
      const uint32_t ends = static_cast<uint32_t>(before[channel]) + after[channel];
      line[3 * i + channel] = mean_of_box(sum[channel], ends, box);
      sum[channel] += after[channel] - static_cast<uint32_t>(leaving[channel]);
    }
  }
  for (int64_t i = 0; i < size; ++i) std::copy_n(line.data() + 3 * i, 3, pixels + i * stride);
}

void blur_by_weights(Pixels pixels, int64_t size, const float* weights) {
  constexpr int64_t kRadius = kBlurTaps / 2;
  const int64_t row_length = 3 * size;

  std::vector<float> padded(row_length + 6 * kRadius);
  std::vector<float> rows(size * row_length);  // blurred along x
  for (int64_t y = 0; y < size; ++y) {
    const uint8_t* const row = pixels.data() + y * row_length;
    for (int64_t i = 0; i < row_length; ++i) padded[3 * kRadius + i] = row[i];
    for (int64_t x = 0; x < kRadius; ++x) {
      for (int64_t channel = 0; channel < 3; ++channel) {
        padded[3 * x + channel] = row[3 * reflected(x - kRadius, size) + channel];
        padded[3 * (kRadius + size + x) + channel] = row[3 * reflected(size + x, size) + channel];
      }
    }
    for (int64_t k = 0; k < kBlurTaps; ++k) {
      add_scaled(rows.data() + y * row_length, padded.data() + 3 * k, weights[k], row_length);
    }
  }

  std::vector<float> sum(row_length);
  for (int64_t y = 0; y < size; ++y) {
    std::fill(sum.begin(), sum.end(), 0.0f);
    for (int64_t k = 0; k < kBlurTaps; ++k) {
      add_scaled(sum.data(), rows.data() + reflected(y + k - kRadius, size) * row_length, weights[k], row_length);
    }
    uint8_t* const row = pixels.data() + y * row_length;
    for (int64_t i = 0; i < row_length; ++i) row[i] = rounded(sum[i]);
  }
}

}  // namespace

void set_gaussian_blur(ImageChange& change, double sigma) {
  change.blur = kGaussianBlur;
  const auto density = [sigma](int64_t i) {
    const double x = static_cast<double>(i - kBlurTaps / 2) / sigma;
    return std::exp(-0.5 * x * x);
  };
  double sum = 0;
  for (int64_t i = 0; i < kBlurTaps; ++i) sum += density(i);
  for (int64_t i = 0; i < kBlurTaps; ++i) change.weights[i] = static_cast<float>(density(i) / sum);
}

void set_box_blur(ImageChange& change, double sigma) {
  constexpr int kTimes = 3;
  const auto deviation = static_cast<float>(sigma);
  const float variance = deviation * deviation / kTimes;
  const auto length = static_cast<float>(std::sqrt(12.0 * variance + 1.0));
  const auto whole = static_cast<float>(std::floor((length - 1.0) / 2.0));
  float part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance);
  part /= 6 * (variance - (whole + 1) * (whole + 1));
  const float extent = whole + part;
  change.blur = kBoxBlur;
  change.radius = static_cast<int32_t>(extent);
  change.inner = static_cast<uint32_t>(static_cast<float>(1 << 24) / (extent * 2 + 1));
  change.outer = ((1 << 24) - (static_cast<uint32_t>(change.radius) * 2 + 1) * change.inner) / 2;
}

void blur(Pixels pixels, int64_t size, const ImageChange& change) {
  if (change.blur == kGaussianBlur) return blur_by_weights(pixels, size, change.weights);
  if (change.blur != kBoxBlur) return;
  std::vector<uint8_t> line(3 * size);
  for (const auto& [along, across] : {std::pair<int64_t, int64_t>{3, 3 * size}, {3 * size, 3}}) {
    for (int64_t i = 0; i < size; ++i) {
      for (int times = 0; times < 3; ++times) mean_of_line(pixels.data() + i * across, size, along, change, line);
    }
  }
}

}  // namespace soundspot::signal
