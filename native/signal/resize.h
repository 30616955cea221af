// Image resizing as Pillow does it, and the normalisation that ImageNet models expect.
#pragma once

#include <cstdint>

#include "core/torch.h"

namespace soundspot::signal {

/// The largest side of an image, before and after resizing, in pixels.
inline constexpr int64_t kMaxImageSide = 65535;

/// @throws Error ERR_SHAPE unless the image is `[H, W, 3]` uint8 on the CPU with sides 1 … 65,535.
void check_image(const Tensor& image);

/// Bicubic resizing with antialiasing, a = −0.5, on 8-bit values: Pillow's `Image.resize(…, BICUBIC)`, bit for bit.
///
/// @param image `[H, W, 3]` uint8, RGB.
/// @param height, width of the result, 1 … 65,535; the aspect ratio is not kept.
/// @return `[height, width, 3]` uint8, contiguous, with memory of its own.
/// @throws Error ERR_SHAPE (image), ERR_INPUT (height, width).
Tensor resize_bicubic(const Tensor& image, int64_t height, int64_t width);

/// A rectangle of pixels.
struct Rectangle {
  int64_t top, left, height, width;
};

/// The part `crop` of `resize_bicubic(image, height, width)`, without making the rest.
///
/// @return `[crop.height, crop.width, 3]` uint8, contiguous, with memory of its own.
/// @throws Error as resize_bicubic(), and ERR_INPUT when the part is empty or not inside the result.
Tensor resize_bicubic(const Tensor& image, int64_t height, int64_t width, const Rectangle& crop);

/// The same with a triangle for the cubic: Pillow's `Image.resize(…, BILINEAR)`, bit for bit.
Tensor resize_bilinear(const Tensor& image, int64_t height, int64_t width);

/// (pixel / 255 − mean) / std with ImageNet's mean (0.485, 0.456, 0.406) and std (0.229, 0.224, 0.225).
///
/// @param image `[H, W, 3]` uint8, RGB.
/// @return `[3, H, W]` float32, contiguous.
/// @throws Error ERR_SHAPE.
Tensor normalize_image(const Tensor& image);

/// The same to `out`, of 3 · H · W values.
void normalize_image(const Tensor& image, float* out);

}  // namespace soundspot::signal
