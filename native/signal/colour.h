// Colour changes on 8-bit RGB pixels, in place, with Pillow's arithmetic.
#pragma once

#include <cstdint>
#include <span>

namespace soundspot::signal {

/// Interleaved RGB: its size is a multiple of 3, and not 0.
using Pixels = std::span<uint8_t>;

/// Blends with black: `ImageEnhance.Brightness`. Factor ≥ 0; 1 changes nothing.
void adjust_brightness(Pixels pixels, double factor);

/// Blends with the rounded mean of the grey image: `ImageEnhance.Contrast`. Factor ≥ 0.
void adjust_contrast(Pixels pixels, double factor);

/// Blends with the grey image: `ImageEnhance.Color`. Factor ≥ 0.
void adjust_saturation(Pixels pixels, double factor);

/// Turns the hue by `shift` of a full circle, −0.5 … 0.5, in Pillow's 8-bit HSV: torchvision's `adjust_hue`.
void adjust_hue(Pixels pixels, double shift);

/// Sets all three channels to the grey value (19595 R + 38470 G + 7471 B + 32768) >> 16 (ITU-R 601-2).
void make_grey(Pixels pixels);

}  // namespace soundspot::signal
