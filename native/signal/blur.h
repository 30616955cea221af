// Gaussian blur of 8-bit RGB pixels, in place.
#pragma once

#include <cstdint>

#include "signal/colour.h"

namespace soundspot::signal {

/// torchvision's gaussian_blur: `taps` weights of a Gaussian, reflected borders, rounded to 8 bits.
///
/// @param pixels `[size, size, 3]`.
/// @param taps odd, less than 2 · size. Of a Gaussian that is wider than the taps only its middle is used: with 5 taps
/// and a sigma of 2 pixels the standard deviation is 1.3 pixels.
void blur_with_kernel(Pixels pixels, int64_t size, int64_t taps, double sigma);

/// Pillow's ImageFilter.GaussianBlur, bit for bit: along each axis three means over boxes, whose ends count in part,
/// so that the standard deviation is `radius`; edges repeated, 8 bits between the means.
///
/// @param pixels `[size, size, 3]`.
/// @param radius in pixels, above 0.
void blur_as_pillow(Pixels pixels, int64_t size, double radius);

}  // namespace soundspot::signal
