// Colour changes on 8-bit RGB pixels, in place, with Pillow's arithmetic (signal/pixel.h).
#pragma once

#include <cstdint>
#include <span>

namespace soundspot::signal {

/// Interleaved RGB: its size is a multiple of 3, and not 0.
using Pixels = std::span<uint8_t>;

/// Blends with black: `ImageEnhance.Brightness`. Factor ≥ 0; 1 changes nothing.
void adjust_brightness(Pixels pixels, float factor);

/// Blends with the rounded mean of the grey image: `ImageEnhance.Contrast`. Factor ≥ 0.
void adjust_contrast(Pixels pixels, float factor);

/// Blends with the grey image: `ImageEnhance.Color`. Factor ≥ 0.
void adjust_saturation(Pixels pixels, float factor);

/// Turns the hue by `parts` of 256 parts of a circle, in Pillow's 8-bit HSV: torchvision's `adjust_hue`.
void adjust_hue(Pixels pixels, uint32_t parts);

/// Sets all three channels to the grey value.
void make_grey(Pixels pixels);

}  // namespace soundspot::signal
