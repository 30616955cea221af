#include "localization/heatmap.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "kernels/device.h"

namespace soundspot::localization {

namespace {

/// Weights of the samples around a place between the second and the third of four, or the first and the second of two,
/// at distance t ∈ [0, 1) from the former.
std::vector<double> taps(Resize::Kernel kernel, double t) {
  if (kernel == Resize::Kernel::kBilinear) return {1 - t, t};
  constexpr double a = -0.75;
  const auto near = [](double d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };       // |d| ≤ 1
  const auto far = [](double d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };  // 1 < |d| < 2
  return {far(t + 1), near(t), near(1 - t), far(2 - t)};
}

/// Interpolation of `from` samples at the centres of `to` pixels, edges repeated, as a matrix [to, from]. A map is
/// enlarged by one along its columns and one along its rows.
Tensor interpolation(int64_t from, int64_t to, const Resize& resize) {
  const auto place = [&](int64_t i) {
    if (!resize.corners) {
      return (static_cast<double>(i) + 0.5) * resize.span(from) / static_cast<double>(to) - resize.offset();
    }
    return to > 1 ? static_cast<double>(i * (from - 1)) / static_cast<double>(to - 1) : 0.0;
  };
  const Tensor weights = at::zeros({to, from});
  float* row = weights.mutable_data_ptr<float>();
  for (int64_t i = 0; i < to; ++i, row += from) {
    const double at = place(i), below = std::floor(at);
    const std::vector<double> own = taps(resize.kernel, at - below);
    const int64_t before = static_cast<int64_t>(own.size()) / 2 - 1;
    for (int64_t k = 0; k < static_cast<int64_t>(own.size()); ++k) {
      const int64_t sample = std::clamp<int64_t>(static_cast<int64_t>(below) + k - before, 0, from - 1);
      row[sample] += static_cast<float>(own[static_cast<size_t>(k)]);
    }
  }
  return weights;
}

/// min_max in place.
Tensor min_max_(const Tensor& maps) {
  const auto [low, high] = at::aminmax(maps.flatten(1), /*dim=*/1);
  if (!maps.is_cpu()) {
    // The same without a read from the device.
    const Tensor length = high - low, varies = length > 1e-6F * at::maximum(high.abs(), low.abs());
    const auto by_map = [](const Tensor& of) { return of.view({-1, 1, 1}); };
    return Tensor(maps)
        .sub_(by_map(at::where(varies, low, at::zeros_like(low))))
        .div_(by_map(at::where(varies, length, at::ones_like(length))));
  }
  for (int64_t i = 0; i < maps.size(0); ++i) {
    const float least = low[i].item<float>(), greatest = high[i].item<float>();
    // Interpolation leaves a constant map constant but for rounding, which must not be stretched over the whole range.
    const bool varies = greatest - least > 1e-6F * std::max(std::abs(greatest), std::abs(least));
    if (varies) maps[i].sub_(least).div_(greatest - least);
  }
  return maps;
}

}  // namespace

double Resize::span(int64_t side) const {
  return places ? static_cast<double>(places->size) / static_cast<double>(places->stride) : static_cast<double>(side);
}

double Resize::offset() const { return places ? 0.5 / static_cast<double>(places->stride) : 0.5; }

Resize resize_named(const std::string& name, const std::optional<TokenPlaces>& places) {
  for (const auto kernel : {Resize::Kernel::kBicubic, Resize::Kernel::kBilinear}) {
    const std::string own = kernel == Resize::Kernel::kBicubic ? "bicubic" : "bilinear";
    if (name == own) return {kernel, /*corners=*/false, places};
    if (name == own + "-corners") return {kernel, /*corners=*/true, places};
  }
  throw Error("ERR_INPUT",
              "Maps are resized by bicubic, bicubic-corners, bilinear or bilinear-corners, not by " + name + ".");
}

Tensor heatmap(const Tensor& target_rows, int64_t side, int64_t height, int64_t width, const Resize& resize,
               const std::optional<Range>& range) {
  if (const auto* const own = kernels::kernels_of(target_rows.device())) {
    const bool bicubic = resize.kernel == Resize::Kernel::kBicubic;
    const kernels::MapResize sizes{bicubic, resize.corners, static_cast<float>(resize.span(side)),
                                   static_cast<float>(resize.offset())};
    return own->heatmap(target_rows, side, height, width, sizes, range, std::nullopt).map;
  }
  const int64_t batch = target_rows.size(0), targets = target_rows.size(1);
  const Tensor grid = target_rows.reshape({batch * targets, side, side});
  const Tensor taller = at::matmul(interpolation(side, height, resize), grid);
  Tensor maps = at::matmul(taller, interpolation(side, width, resize).t());
  if (range) {
    maps.sub_(range->first).div_(range->second - range->first);
  } else {
    min_max_(maps);
  }
  return targets == 1 ? maps : at::amax(maps.view({batch, targets, height, width}), 1);
}

Tensor refine(const Tensor& audio, const Tensor& image, double alpha) {
  return min_max_(audio * alpha + image * (1.0 - alpha));
}

Rendered render(const Tensor& audio, const Tensor& image, const Tensor& objectness, const RenderOptions& options) {
  const at::NoGradGuard no_grad;
  const auto of = [&](const Tensor& grid, const Resize& resize, const std::optional<Range>& range) {
    const Tensor targets = grid.dim() == 2 ? grid.unsqueeze(0) : grid;  // [T, side, side]
    return heatmap(targets.flatten(1).unsqueeze(0), targets.size(1), options.height, options.width, resize, range);
  };
  const auto blend = [&](const Tensor& own, const Tensor& other) {
    if (!options.objectness_range) return refine(own, other, options.alpha)[0];
    return (own * options.alpha + other * (1.0 - options.alpha))[0];
  };
  const Tensor own = of(audio, options.resize, options.range);
  Rendered maps;
  maps.audio = own[0];
  const Tensor other = image.defined() ? of(image, options.resize, std::nullopt) : Tensor();
  if (other.defined()) {
    maps.image = other[0];
    maps.iqr = blend(own, other);
  }
  if (objectness.defined()) {
    const Tensor objects = of(objectness, options.objectness_resize, options.objectness_range);
    maps.ogl = blend(own, objects);
    if (other.defined()) maps.combined = blend(own, (other + objects) / 2);
  }
  return maps;
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
