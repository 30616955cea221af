// Geometric transforms of a batch of images or maps, with gradients.
#pragma once

#include "core/torch.h"

namespace soundspot::methods {

struct Transform {
  Tensor angles;      // [B] float32, degrees, counter-clockwise
  double scale = 1;   // of the content and of the result
  bool flip = false;  // left and right exchanged, at the end
};

/// Rotates and zooms about the centre of a frame of `frame` pixels a side, with zeros outside, and resizes the frame by
/// `scale`: with a scale below 1 the content shrinks twice, as published.
///
/// @param input `[B, C, h, w]`; anything but the frame's size is resized to it first (bilinear, half-pixel centres).
/// @param side pixels of the result
/// @return `[B, C, side, side]`
Tensor transformed(const Tensor& input, const Transform& transform, int64_t frame, int64_t side);

}  // namespace soundspot::methods
