// From attention over tokens to a map at the image's size, a mask and boxes (docs/method.md, "Inference and metrics").
#pragma once

#include "core/torch.h"

namespace soundspot::localization {

/// Target rows [B, T, N] over side × side tokens → bicubic (a = −0.75), min–max, maximum over target slots:
/// [B, height, width] in [0, 1]. A map that is constant but for rounding stays as it is.
Tensor heatmap(const Tensor& target_rows, int64_t side, int64_t height, int64_t width);

/// IQR refinement of normalised maps [B, h, w]: minmax(α·audio + (1−α)·image).
Tensor refine(const Tensor& audio, const Tensor& image, double alpha);

/// A connected region of a mask in pixels, with the mean of the map inside it.
struct Region {
  int64_t x, y, width, height, area;
  double score;
};

/// Regions of 8-connected pixels at or above `threshold`, greatest area first. map [height, width], contiguous float32.
std::vector<Region> regions(const Tensor& map, double threshold);

}  // namespace soundspot::localization
