// Gaussian blur of 8-bit RGB pixels, in place.
#pragma once

#include <cstdint>

#include "signal/colour.h"
#include "signal/pixel.h"

namespace soundspot::signal {

/// Sets the numbers of torchvision's gaussian_blur: kBlurTaps weights of a Gaussian. Of one that is wider only its
/// middle is used: a sigma of 2 pixels has a standard deviation of 1.3 pixels.
void set_gaussian_blur(ImageChange& change, double sigma);

/// Sets the numbers of Pillow's ImageFilter.GaussianBlur: along each axis three means over boxes, whose ends count in
/// part, so that the standard deviation is `sigma` (Gwosdek et al., "Theoretical foundations of Gaussian convolution by
/// extended box filtering", SSVM 2011).
void set_box_blur(ImageChange& change, double sigma);

/// Blurs `[size, size, 3]` as the change says. A Gaussian blur has reflected borders and is rounded once; a box blur
/// has repeated edges and 8 bits between its means, as Pillow's, bit for bit.
void blur(Pixels pixels, int64_t size, const ImageChange& change);

}  // namespace soundspot::signal
