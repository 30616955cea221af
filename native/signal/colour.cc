// Colour changes with Pillow's arithmetic: libImaging's Blend.c and Convert.c, step for step.
#include "signal/colour.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace soundspot::signal {
namespace {

uint8_t grey(const uint8_t* rgb) {
  return static_cast<uint8_t>((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 0x8000u) >> 16);
}

/// Image.blend(from, to, factor) of one value: truncated, and clipped, which only factors over 1 need.
uint8_t blend(int from, int to, float factor) {
  const float mixed = static_cast<float>(from) + factor * static_cast<float>(to - from);
  return static_cast<uint8_t>(std::clamp(mixed, 0.0f, 255.0f));
}

void blend_with_constant(Pixels pixels, int constant, double factor) {
  std::array<uint8_t, 256> table;
  for (int value = 0; value < 256; ++value) table[value] = blend(constant, value, static_cast<float>(factor));
  for (uint8_t& value : pixels) value = table[value];
}

uint8_t clip(int value) { return static_cast<uint8_t>(std::clamp(value, 0, 255)); }

struct Hsv {
  uint8_t hue, saturation, value;
};

Hsv to_hsv(const uint8_t* rgb) {
  const int red = rgb[0], green = rgb[1], blue = rgb[2];
  const int high = std::max({red, green, blue});
  const int low = std::min({red, green, blue});
  if (high == low) return {0, 0, static_cast<uint8_t>(high)};
  const auto range = static_cast<float>(high - low);
  const float saturation = range / static_cast<float>(high);
  const float to_red = static_cast<float>(high - red) / range;
  const float to_green = static_cast<float>(high - green) / range;
  const float to_blue = static_cast<float>(high - blue) / range;
  float sector;
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
  return {clip(static_cast<int>(hue * 255.0)), clip(static_cast<int>(saturation * 255.0)), static_cast<uint8_t>(high)};
}

/// The rounded value · (1 − part), in double as C's promotions have it.
uint8_t darken(uint8_t value, double part) { return clip(static_cast<int>(value * (1.0 - part) + 0.5)); }

void to_rgb(const Hsv& hsv, uint8_t* rgb) {
  const uint8_t v = hsv.value;
  if (hsv.saturation == 0) {
    rgb[0] = rgb[1] = rgb[2] = v;
    return;
  }
  const double turn = hsv.hue * 6.0 / 255.0;
  const int sector = static_cast<int>(turn);  // 0 … 6
  const auto rest = static_cast<float>(turn - sector);
  const auto saturation = static_cast<float>(hsv.saturation / 255.0);
  const uint8_t p = darken(v, saturation);
  const uint8_t q = darken(v, saturation * rest);
  const uint8_t t = darken(v, saturation * (1.0 - rest));
  const std::array<std::array<uint8_t, 3>, 6> sectors{
      {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}}};
  std::copy_n(sectors[sector % 6].begin(), 3, rgb);
}

}  // namespace

void adjust_brightness(Pixels pixels, double factor) { blend_with_constant(pixels, 0, factor); }

void adjust_contrast(Pixels pixels, double factor) {
  int64_t sum = 0;
  for (size_t i = 0; i < pixels.size(); i += 3) sum += grey(&pixels[i]);
  const double mean = static_cast<double>(sum) / (static_cast<double>(pixels.size()) / 3);
  blend_with_constant(pixels, static_cast<int>(mean + 0.5), factor);
}

void adjust_saturation(Pixels pixels, double factor) {
  const auto amount = static_cast<float>(factor);
  for (size_t i = 0; i < pixels.size(); i += 3) {
    const int from = grey(&pixels[i]);
    for (size_t channel = 0; channel < 3; ++channel) pixels[i + channel] = blend(from, pixels[i + channel], amount);
  }
}

void adjust_hue(Pixels pixels, double shift) {
  const auto step = static_cast<uint8_t>(static_cast<int>(shift * 255));  // a negative one wraps around
  for (size_t i = 0; i < pixels.size(); i += 3) {
    Hsv hsv = to_hsv(&pixels[i]);
    hsv.hue = static_cast<uint8_t>(hsv.hue + step);
    to_rgb(hsv, &pixels[i]);
  }
}

void make_grey(Pixels pixels) {
  for (size_t i = 0; i < pixels.size(); i += 3) {
    const uint8_t value = grey(&pixels[i]);
    std::fill_n(&pixels[i], 3, value);
  }
}

}  // namespace soundspot::signal
