// A heatmap laid over an image.
#pragma once

#include <cstdint>
#include <span>

namespace soundspot::signal {

/// Factor on the image and the value added to it at each of 256 heats, in 1/256.
struct BlendTables {
  std::span<const uint16_t> keep;  // [256]
  std::span<const uint16_t> add;   // [256, 3]
};

/// out = (image · keep + add) / 256 at the heat of each pixel, of 8-bit RGB. Heat outside [0, 1] is clamped, not a
/// number counts as 0. `heat` has a value for every three of `image` and `out`.
void blend(std::span<const uint8_t> image, std::span<const float> heat, const BlendTables& tables,
           std::span<uint8_t> out);

}  // namespace soundspot::signal
