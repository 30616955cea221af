// What augmentation makes of one 8-bit RGB pixel, with Pillow's arithmetic, and the numbers of one image's changes. The
// same source computes on the CPU and on a GPU, so that both give the same bits.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "core/device_code.h"

namespace soundspot::signal {

struct Rgb {
  uint8_t v[3];
};

/// Of a change: which blur.
enum BlurKind : int32_t { kNoBlur, kGaussianBlur, kBoxBlur };

/// Of a change of colours: their order is four of these, the first in the lowest byte.
enum ColourChange : uint32_t { kBrightness, kContrast, kSaturation, kHue };

constexpr int kBlurTaps = 5;          // of a Gaussian blur, in pixels
constexpr int64_t kMostPatches = 16;  // along each side of a grid of hidden patches

/// All that is done to a square of pixels, in this order. Plain numbers, which a device copies as bytes.
struct ImageChange {
  int32_t blur = kNoBlur;
  float weights[kBlurTaps] = {};  // of a Gaussian blur
  int32_t radius = 0;             // of a box blur: of three means along each axis
  uint32_t inner = 0, outer = 0;  // its weights inside and at both ends, with 24 bits after the point
  int32_t flip = 0;               // left and right exchanged
  int32_t jitter = 0;             // colours are changed, in this order
  uint32_t order = 0x03020100;    // see ColourChange
  float brightness = 1, contrast = 1, saturation = 1;
  uint32_t hue = 0;             // turned by so many of 256 parts of a circle
  int32_t grey = 0;             // made grey
  int32_t vertical_flip = 0;    // top and bottom exchanged
  int32_t right = 0, down = 0;  // moved by so many pixels; what enters is black
  int32_t grid = 0;             // patches along each side, of which some are hidden; 0 hides none
  uint32_t hidden[kMostPatches * kMostPatches / 32] = {};  // one bit of each patch, row after row

  SOUNDSPOT_DEVICE ColourChange colour(int place) const {
    return static_cast<ColourChange>((order >> (8 * place)) & 0xff);
  }

  /// Whether row `y`, column `x` of a result of `size` × `size` pixels lies in a hidden patch.
  SOUNDSPOT_DEVICE bool hides(int64_t y, int64_t x, int64_t size) const {
    if (grid == 0) return false;
    const int64_t patch = y * grid / size * grid + x * grid / size;
    return ((hidden[patch / 32] >> (patch % 32)) & 1U) != 0;
  }
};

static_assert(std::is_trivially_copyable_v<ImageChange> && sizeof(ImageChange) == 116, "a device reads its bytes");

/// What hidden patches show: ImageNet's mean colour, which normalization sets to zero up to the rounding to 8 bits.
SOUNDSPOT_DEVICE Rgb hidden_pixel() { return {{124, 116, 104}}; }

/// The grey value (ITU-R 601-2).
SOUNDSPOT_DEVICE uint8_t grey_of(const Rgb& rgb) {
  return static_cast<uint8_t>((19595U * rgb.v[0] + 38470U * rgb.v[1] + 7471U * rgb.v[2] + 0x8000U) >> 16);
}

SOUNDSPOT_DEVICE uint8_t clipped(int value) { return static_cast<uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value); }

/// Pillow's Image.blend(from, to, factor) of one value: truncated, and clipped, which only factors over 1 need.
SOUNDSPOT_DEVICE uint8_t blended(int from, int to, float factor) {
  const float mixed = static_cast<float>(from) + factor * static_cast<float>(to - from);
  return static_cast<uint8_t>(mixed < 0 ? 0.0F : mixed > 255 ? 255.0F : mixed);
}

/// The rounded mean of the grey values of `pixels` pixels.
SOUNDSPOT_DEVICE int mean_grey(int64_t sum, int64_t pixels) {
  return static_cast<int>(static_cast<double>(sum) / static_cast<double>(pixels) + 0.5);
}

/// A box blur's mean of the sum of the values inside and of the two at its ends.
SOUNDSPOT_DEVICE uint8_t mean_of_box(uint32_t inside, uint32_t ends, const ImageChange& box) {
  return static_cast<uint8_t>((inside * box.inner + ends * box.outer + (1U << 23)) >> 24);
}

/// Position `i` of an axis of `size` that is mirrored at both ends, the ends not repeated.
SOUNDSPOT_DEVICE int64_t reflected(int64_t i, int64_t size) { return i < 0 ? -i : i >= size ? 2 * (size - 1) - i : i; }

/// To 8 bits, halves to the even number.
SOUNDSPOT_DEVICE uint8_t rounded(float value) {
  return static_cast<uint8_t>(nearbyintf(value < 0 ? 0.0F : value > 255 ? 255.0F : value));
}

struct Hsv {
  uint8_t hue, saturation, value;
};

/// Pillow's 8-bit HSV (libImaging's Convert.c).
SOUNDSPOT_DEVICE Hsv to_hsv(const Rgb& rgb) {
  const int red = rgb.v[0], green = rgb.v[1], blue = rgb.v[2];
  const int larger = red > green ? red : green, smaller = red < green ? red : green;
  const int high = larger > blue ? larger : blue, low = smaller < blue ? smaller : blue;
  if (high == low) return {0, 0, static_cast<uint8_t>(high)};
  const auto range = static_cast<float>(high - low);
  const float saturation = range / static_cast<float>(high);
  const float to_red = static_cast<float>(high - red) / range;
  const float to_green = static_cast<float>(high - green) / range;
  const float to_blue = static_cast<float>(high - blue) / range;
  float sector = 0;
  if (red == high) {
    sector = to_blue - to_green;
  } else if (green == high) {
    sector = static_cast<float>(2.0 + to_red - to_blue);
  } else {
    sector = static_cast<float>(4.0 + to_green - to_red);
  }
  double turn = sector / 6.0 + 1.0;  // in [5/6, 2)
  if (turn >= 1.0) turn -= 1.0;
  const auto hue = static_cast<float>(turn);
  return {clipped(static_cast<int>(hue * 255.0)), clipped(static_cast<int>(saturation * 255.0)),
          static_cast<uint8_t>(high)};
}

/// The rounded value · (1 − part), in double as C's promotions have it.
SOUNDSPOT_DEVICE uint8_t darkened(uint8_t value, double part) {
  return clipped(static_cast<int>(value * (1.0 - part) + 0.5));
}

SOUNDSPOT_DEVICE Rgb to_rgb(const Hsv& hsv) {
  const uint8_t v = hsv.value;
  if (hsv.saturation == 0) return {{v, v, v}};
  const double turn = hsv.hue * 6.0 / 255.0;
  const int sector = static_cast<int>(turn);  // 0 … 6
  const auto rest = static_cast<float>(turn - sector);
  const auto saturation = static_cast<float>(hsv.saturation / 255.0);
  const uint8_t p = darkened(v, saturation);
  const uint8_t q = darkened(v, saturation * rest);
  const uint8_t t = darkened(v, saturation * (1.0 - rest));
  switch (sector % 6) {
    case 0:
      return {{v, t, p}};
    case 1:
      return {{q, v, p}};
    case 2:
      return {{p, v, t}};
    case 3:
      return {{p, q, v}};
    case 4:
      return {{t, p, v}};
    default:
      return {{v, p, q}};
  }
}

/// Turns the hue by `parts` of 256 parts of a circle: torchvision's adjust_hue.
SOUNDSPOT_DEVICE Rgb turned(const Rgb& rgb, uint32_t parts) {
  Hsv hsv = to_hsv(rgb);
  hsv.hue = static_cast<uint8_t>(hsv.hue + parts);
  return to_rgb(hsv);
}

/// Blended with its grey value: Pillow's ImageEnhance.Color.
SOUNDSPOT_DEVICE Rgb saturated(const Rgb& rgb, float factor) {
  const uint8_t from = grey_of(rgb);
  return {{blended(from, rgb.v[0], factor), blended(from, rgb.v[1], factor), blended(from, rgb.v[2], factor)}};
}

/// One change of colours. `mean` is mean_grey of the image before the contrast's.
SOUNDSPOT_DEVICE Rgb changed(const Rgb& rgb, const ImageChange& change, ColourChange which, int mean) {
  Rgb result = rgb;
  switch (which) {
    case kBrightness:
      for (uint8_t& value : result.v) value = blended(0, value, change.brightness);
      return result;
    case kContrast:
      for (uint8_t& value : result.v) value = blended(mean, value, change.contrast);
      return result;
    case kSaturation:
      return saturated(rgb, change.saturation);
    default:
      return turned(rgb, change.hue);
  }
}

/// (value / 255 − mean) / std with ImageNet's mean (0.485, 0.456, 0.406) and std (0.229, 0.224, 0.225).
SOUNDSPOT_DEVICE float normalized(uint8_t value, int channel) {
  const float mean = channel == 0 ? 0.485F : channel == 1 ? 0.456F : 0.406F;
  const float deviation = channel == 0 ? 0.229F : channel == 1 ? 0.224F : 0.225F;
  return (static_cast<float>(value) / 255.0F - mean) / deviation;
}

}  // namespace soundspot::signal
