#include "signal/blur.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

namespace soundspot::signal {
namespace {

std::vector<float> gaussian(int64_t size, double sigma) {
  std::vector<float> weights(size);
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) {
    const double x = static_cast<double>(i - size / 2) / sigma;
    sum += std::exp(-0.5 * x * x);
  }
  for (int64_t i = 0; i < size; ++i) {
    const double x = static_cast<double>(i - size / 2) / sigma;
    weights[i] = static_cast<float>(std::exp(-0.5 * x * x) / sum);
  }
  return weights;
}

/// Position `i` of an axis of `size` that is mirrored at both ends, the ends not repeated.
int64_t reflect(int64_t i, int64_t size) { return i < 0 ? -i : i >= size ? 2 * (size - 1) - i : i; }

void add_scaled(float* __restrict sum, const float* __restrict values, float weight, int64_t count) {
  for (int64_t i = 0; i < count; ++i) sum[i] += weight * values[i];
}

/// A mean over 2 · radius + 1 values and a share of the next on each side, with 24 bits after the point.
struct Box {
  int64_t radius;
  uint32_t inner;  // weight of each value inside
  uint32_t outer;  // and of the two beyond

  /// Three of them have the standard deviation `sigma` (Gwosdek et al., "Theoretical foundations of Gaussian
  /// convolution by extended box filtering", SSVM 2011).
  explicit Box(float sigma) {
    constexpr int kTimes = 3;
    const float variance = sigma * sigma / kTimes;
    const auto length = static_cast<float>(std::sqrt(12.0 * variance + 1.0));
    const auto whole = static_cast<float>(std::floor((length - 1.0) / 2.0));
    float part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance);
    part /= 6 * (variance - (whole + 1) * (whole + 1));
    const float extent = whole + part;
    radius = static_cast<int64_t>(extent);
    inner = static_cast<uint32_t>(static_cast<float>(1 << 24) / (extent * 2 + 1));
    outer = ((1 << 24) - (static_cast<uint32_t>(radius) * 2 + 1) * inner) / 2;
  }
};

/// `size` pixels that lie `stride` bytes apart, through `line` of the same number.
void box_blur(uint8_t* pixels, int64_t size, int64_t stride, const Box& box, std::vector<uint8_t>& line) {
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
      line[3 * i + channel] = static_cast<uint8_t>((sum[channel] * box.inner + ends * box.outer + (1U << 23)) >> 24);
      sum[channel] += after[channel] - static_cast<uint32_t>(leaving[channel]);
    }
  }
  for (int64_t i = 0; i < size; ++i) std::copy_n(line.data() + 3 * i, 3, pixels + i * stride);
}

}  // namespace

void blur_with_kernel(Pixels pixels, int64_t size, int64_t taps, double sigma) {
  const std::vector<float> weights = gaussian(taps, sigma);
  const int64_t radius = taps / 2;
  const int64_t row_length = 3 * size;

  std::vector<float> padded(row_length + 6 * radius);
  std::vector<float> rows(size * row_length);  // blurred along x
  for (int64_t y = 0; y < size; ++y) {
    const uint8_t* const row = pixels.data() + y * row_length;
    for (int64_t i = 0; i < row_length; ++i) padded[3 * radius + i] = row[i];
    for (int64_t x = 0; x < radius; ++x) {
      for (int64_t channel = 0; channel < 3; ++channel) {
        padded[3 * x + channel] = row[3 * reflect(x - radius, size) + channel];
        padded[3 * (radius + size + x) + channel] = row[3 * reflect(size + x, size) + channel];
      }
    }
    for (int64_t k = 0; k < taps; ++k) {
      add_scaled(rows.data() + y * row_length, padded.data() + 3 * k, weights[k], row_length);
    }
  }

  std::vector<float> sum(row_length);
  for (int64_t y = 0; y < size; ++y) {
    std::fill(sum.begin(), sum.end(), 0.0f);
    for (int64_t k = 0; k < taps; ++k) {
      add_scaled(sum.data(), rows.data() + reflect(y + k - radius, size) * row_length, weights[k], row_length);
    }
    uint8_t* const row = pixels.data() + y * row_length;
    for (int64_t i = 0; i < row_length; ++i) {
      row[i] = static_cast<uint8_t>(std::nearbyint(std::clamp(sum[i], 0.0f, 255.0f)));
    }
  }
}

void blur_as_pillow(Pixels pixels, int64_t size, double radius) {
  const Box box(static_cast<float>(radius));
  std::vector<uint8_t> line(3 * size);
  for (const auto& [along, across] : {std::pair<int64_t, int64_t>{3, 3 * size}, {3 * size, 3}}) {
    for (int64_t i = 0; i < size; ++i) {
      for (int times = 0; times < 3; ++times) box_blur(pixels.data() + i * across, size, along, box, line);
    }
  }
}

}  // namespace soundspot::signal
