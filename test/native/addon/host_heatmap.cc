// Heatmaps and masks.
#include "host_kernels.h"
#include "kernels/cuda/heatmap_function.h"

namespace soundspot::testing {
namespace {

using kernels::cuda::Host;

constexpr double kThreshold = 0.6;

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
  const auto result = kernels::cuda::heatmap_by<Host>(rows, side, height, width, {bicubic, corners}, range, kThreshold);

  const Tensor grid = rows.to(at::kDouble).view({batch, targets, side, side});
  Tensor exact = bicubic ? at::upsample_bicubic2d(grid, {height, width}, corners)
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
  return {{"map", result.map, exact},
          {"mask", result.mask.masked_select(clear), mask.masked_select(clear)},
          {"mask of the map", result.mask, result.map >= static_cast<float>(kThreshold)}};
}

const RegisterComparison registered("heatmap", heatmap);

}  // namespace
}  // namespace soundspot::testing
