#include "signal/colour.h"

#include <algorithm>
#include <array>

#include "signal/pixel.h"

namespace soundspot::signal {
namespace {

/// Calls `change` with every pixel, and stores what it returns.
template <class Change>
void each_pixel(Pixels pixels, const Change& change) {
  for (size_t i = 0; i < pixels.size(); i += 3) {
    const Rgb result = change(Rgb{{pixels[i], pixels[i + 1], pixels[i + 2]}});
    std::copy_n(result.v, 3, &pixels[i]);
  }
}

void blend_with_constant(Pixels pixels, int constant, float factor) {
  std::array<uint8_t, 256> table;
  for (int value = 0; value < 256; ++value) table[value] = blended(constant, value, factor);
  for (uint8_t& value : pixels) value = table[value];
}

}  // namespace

void adjust_brightness(Pixels pixels, float factor) { blend_with_constant(pixels, 0, factor); }

void adjust_contrast(Pixels pixels, float factor) {
  int64_t sum = 0;
  for (size_t i = 0; i < pixels.size(); i += 3) sum += grey_of({{pixels[i], pixels[i + 1], pixels[i + 2]}});
  blend_with_constant(pixels, mean_grey(sum, static_cast<int64_t>(pixels.size() / 3)), factor);
}

void adjust_saturation(Pixels pixels, float factor) {
  each_pixel(pixels, [factor](const Rgb& rgb) { return saturated(rgb, factor); });
}

void adjust_hue(Pixels pixels, uint32_t parts) {
  each_pixel(pixels, [parts](const Rgb& rgb) { return turned(rgb, parts); });
}

void make_grey(Pixels pixels) {
  each_pixel(pixels, [](const Rgb& rgb) {
    const uint8_t value = grey_of(rgb);
    return Rgb{{value, value, value}};
  });
}

}  // namespace soundspot::signal
