// Heatmaps and masks on tensors, over a launcher: Device (functions.cu) or Host (tests).
#pragma once

#include "kernels/cuda/heatmap.h"
#include "kernels/cuda/tensors.h"
#include "kernels/device.h"

namespace soundspot::kernels::cuda {

template <class Launcher>
Heatmap heatmap_by(const Tensor& target_rows, int64_t side, int64_t height, int64_t width, const MapResize& resize,
                   const std::optional<std::pair<double, double>>& range, const std::optional<double>& threshold) {
  const Launcher run(target_rows);
  const Tensor maps = target_rows.to(at::kFloat).contiguous();
  const int64_t batch = maps.size(0), targets = maps.size(1);
  TORCH_CHECK(maps.size(2) == side * side, "maps of side ", side, " have ", side * side, " tokens, not ", maps.size(2));
  const float span = resize.span > 0 ? resize.span : static_cast<float>(side);
  const Enlargement sizes{side, height, width, resize.bicubic, resize.corners, span, resize.offset};
  const auto options = maps.options().requires_grad(false);
  Tensor scales;
  if (!range) {
    const int64_t chunks = divided_up(height * width, kMapChunk);
    const Tensor partial = at::empty({batch * targets, chunks, 2}, options);
    scales = at::empty({batch * targets, 2}, options);
    const MapExtremes extremes{sizes, read<float>(maps), write<float>(partial)};
    run.launch(extremes.grid(batch * targets), extremes);
    const MapScales join{batch * targets, chunks, read<float>(partial), write<float>(scales)};
    run.launch(join.grid(), join);
  }
  Heatmap result{at::empty({batch, height, width}, options), {}};
  if (threshold) result.mask = at::empty({batch, height, width}, options.dtype(at::kByte));
  const MapResult kernel{sizes,
                         targets,
                         read<float>(maps),
                         read<float>(scales),
                         range ? static_cast<float>(range->first) : 0,
                         range ? static_cast<float>(range->second - range->first) : 1,
                         threshold ? static_cast<float>(*threshold) : 0,
                         write<float>(result.map),
                         write<uint8_t>(result.mask)};
  run.launch(kernel.grid(batch), kernel);
  return result;
}

}  // namespace soundspot::kernels::cuda
