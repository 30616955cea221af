#include "signal/blend.h"

namespace soundspot::signal {

namespace {

size_t table_index(float value) {
  if (!(value > 0)) return 0;
  return value < 1 ? static_cast<size_t>(value * 255 + 0.5F) : 255;
}

}  // namespace

void blend(std::span<const uint8_t> image, std::span<const float> heat, const BlendTables& tables,
           std::span<uint8_t> out) {
  for (size_t pixel = 0; pixel < heat.size(); ++pixel) {
    const size_t index = table_index(heat[pixel]);
    const uint32_t keep = tables.keep[index];
    for (size_t channel = 0; channel < 3; ++channel) {
      const size_t at = 3 * pixel + channel;
      out[at] = static_cast<uint8_t>((image[at] * keep + tables.add[3 * index + channel]) >> 8);
    }
  }
}

}  // namespace soundspot::signal
