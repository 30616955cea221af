// Heatmaps and masks.
#include "host_kernels.h"
#include "kernels/cuda/heatmap_function.h"
#include "localization/heatmap.h"

namespace soundspot::testing {
namespace {

using kernels::cuda::Host;

constexpr double kThreshold = 0.6;

/// The maps at the pixels' places among tokens at pixels stride · t, by torch's `grid_sample`.
Tensor at_places(const Tensor& grid, int64_t size, int64_t stride, int64_t height, int64_t width, bool bicubic) {
  const int64_t side = grid.size(2);
  const auto places = [&](int64_t pixels) {
    const Tensor in_image = (at::arange(pixels, at::kDouble) + 0.5) * size / pixels - 0.5;
    return in_image / stride / std::max<double>(1, static_cast<double>(side - 1)) * 2 - 1;  // ±1 are the corner tokens
  };
  const std::vector<Tensor> yx = at::meshgrid({places(height), places(width)}, "ij");
  const Tensor points = at::stack({yx[1], yx[0]}, 2).unsqueeze(0).expand({grid.size(0), height, width, 2});
  return at::grid_sampler_2d(grid, points, bicubic ? 2 : 0, /*padding: border=*/1, /*align_corners=*/true);
}

Comparisons heatmap(const Case& of) {
  const int64_t batch = of.of("batch"), targets = of.of("targets"), side = of.of("side"), height = of.of("height"),
                width = of.of("width");
  const bool bicubic = of.flag("bicubic"), corners = of.flag("corners");
  Tensor rows = at::rand({batch, targets, side * side}) * 3 - 1;
  if (of.flag("constant")) rows.select(0, 0).fill_(0.123F);
  const bool damaged = of.flag("damaged");
  if (damaged) rows.select(0, 0).select(0, targets - 1).select(0, 0).fill_(NAN);
  std::optional<std::pair<double, double>> range;
  if (of.flag("range")) range = {-1.0, 2.0};
  // Tokens at pixels stride · t of an image whose last token may reach over its edge.
  const int64_t stride = corners ? 0 : of.of("stride"),
                size = side * stride - (stride > 0 ? of.of("missing") % stride : 0);
  const localization::Resize resize{
      bicubic ? localization::Resize::Kernel::kBicubic : localization::Resize::Kernel::kBilinear, corners,
      stride > 0 ? std::optional(localization::TokenPlaces{size, stride}) : std::nullopt};
  const auto result = kernels::cuda::heatmap_by<Host>(
      rows, side, height, width,
      {bicubic, corners, static_cast<float>(resize.span(side)), static_cast<float>(resize.offset())}, range,
      kThreshold);

  const Tensor grid = rows.to(at::kDouble).view({batch, targets, side, side});
  Tensor exact = stride > 0 ? at_places(grid, size, stride, height, width, bicubic)
                 : bicubic  ? at::upsample_bicubic2d(grid, {height, width}, corners)
                            : at::upsample_bilinear2d(grid, {height, width}, corners);
  if (damaged) {
    // Taps of weight 0 may spread a NaN further than LibTorch does; none is lost.
    const Tensor lost = exact.amax(1).isnan().logical_and(result.map.isnan().logical_not());
    return {{"lost", lost, at::zeros_like(lost)},
            {"mask of the map", result.mask, result.map >= static_cast<float>(kThreshold)}};
  }
  const Tensor flat = exact.flatten(2), low = std::get<0>(flat.min(2)).view({batch, targets, 1, 1}),
               length = std::get<0>(flat.max(2)).view({batch, targets, 1, 1}) - low;
  if (range) {
    exact = (exact + 1) / 3;
  } else {
    exact = at::where(length > 1e-6, (exact - low) / length.clamp_min(1e-9), exact);
  }
  exact = exact.amax(1);
  // A pixel whose value is at the threshold but for rounding may be on either side of it.
  const Tensor clear = (exact - kThreshold).abs() > 1e-5, mask = exact >= kThreshold;
  const Tensor of_cpu = localization::heatmap(rows, side, height, width, resize, range);
  return {{"map", result.map, exact},
          {"map of the CPU", of_cpu, exact},
          {"mask", result.mask.masked_select(clear), mask.masked_select(clear)},
          {"mask of the map", result.mask, result.map >= static_cast<float>(kThreshold)}};
}

const RegisterComparison registered("heatmap", heatmap);

}  // namespace
}  // namespace soundspot::testing
