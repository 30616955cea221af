#include "localization/heatmap.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace soundspot::localization {

namespace {

/// Bicubic interpolation (Keys, a = −0.75, edges repeated) of `from` samples at the centres of `to` pixels, as a matrix
/// [to, from]. A map is enlarged by one along its columns and one along its rows.
Tensor interpolation(int64_t from, int64_t to) {
  constexpr double a = -0.75;
  const auto near = [](double t) { return ((a + 2) * t - (a + 3)) * t * t + 1; };       // |t| ≤ 1
  const auto far = [](double t) { return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a; };  // 1 < |t| < 2
  const Tensor weights = at::zeros({to, from});
  float* row = weights.mutable_data_ptr<float>();
  for (int64_t i = 0; i < to; ++i, row += from) {
    const double at = (static_cast<double>(i) + 0.5) * static_cast<double>(from) / static_cast<double>(to) - 0.5;
    const double below = std::floor(at), t = at - below;
    const std::array<double, 4> taps{far(t + 1), near(t), near(1 - t), far(2 - t)};
    for (int64_t k = 0; k < 4; ++k) {
      const int64_t sample = std::clamp<int64_t>(static_cast<int64_t>(below) + k - 1, 0, from - 1);
      row[sample] += static_cast<float>(taps[static_cast<size_t>(k)]);
    }
  }
  return weights;
}

/// min_max in place.
Tensor min_max_(const Tensor& maps) {
  const auto [low, high] = at::aminmax(maps.flatten(1), /*dim=*/1);
  for (int64_t i = 0; i < maps.size(0); ++i) {
    const float least = low[i].item<float>(), greatest = high[i].item<float>();
    // Interpolation leaves a constant map constant but for rounding, which must not be stretched over the whole range.
    const bool varies = greatest - least > 1e-6F * std::max(std::abs(greatest), std::abs(least));
    if (varies) maps[i].sub_(least).div_(greatest - least);
  }
  return maps;
}

}  // namespace

Tensor heatmap(const Tensor& target_rows, int64_t side, int64_t height, int64_t width) {
  const int64_t batch = target_rows.size(0), targets = target_rows.size(1);
  const Tensor grid = target_rows.reshape({batch * targets, side, side});
  const Tensor taller = at::matmul(interpolation(side, height), grid);
  const Tensor maps = min_max_(at::matmul(taller, interpolation(side, width).t()));
  return targets == 1 ? maps : at::amax(maps.view({batch, targets, height, width}), 1);
}

Tensor refine(const Tensor& audio, const Tensor& image, double alpha) {
  return min_max_(audio * alpha + image * (1.0 - alpha));
}

std::vector<Region> regions(const Tensor& map, double threshold) {
  const int64_t height = map.size(0), width = map.size(1);
  const float* values = map.const_data_ptr<float>();
  std::vector<uint8_t> open(static_cast<size_t>(height * width));
  for (size_t i = 0; i < open.size(); ++i) open[i] = values[i] >= threshold;

  std::vector<Region> found;
  std::vector<int64_t> stack;
  for (int64_t start = 0; start < height * width; ++start) {
    if (!open[start]) continue;
    int64_t left = width, right = 0, top = height, bottom = 0, area = 0;
    double sum = 0;
    open[start] = 0;
    stack.push_back(start);
    while (!stack.empty()) {
      const int64_t at = stack.back(), y = at / width, x = at % width;
      stack.pop_back();
      left = std::min(left, x), right = std::max(right, x);
      top = std::min(top, y), bottom = std::max(bottom, y);
      ++area;
      sum += values[at];
      for (int64_t ny = std::max<int64_t>(y - 1, 0); ny <= std::min(y + 1, height - 1); ++ny) {
        for (int64_t nx = std::max<int64_t>(x - 1, 0); nx <= std::min(x + 1, width - 1); ++nx) {
          const int64_t next = ny * width + nx;
          if (!open[next]) continue;
          open[next] = 0;
          stack.push_back(next);
        }
      }
    }
    found.push_back({left, top, right - left + 1, bottom - top + 1, area, sum / static_cast<double>(area)});
  }
  std::stable_sort(found.begin(), found.end(), [](const Region& a, const Region& b) { return a.area > b.area; });
  return found;
}

}  // namespace soundspot::localization
