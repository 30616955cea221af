// Pillow's resampling (libImaging's Resample.c): two passes of weights with 22 bits after the point, columns first,
// 8 bits between them. LibTorch's own 8-bit kernels have weights of 16 bits and differ.
#include "signal/resize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "signal/pixel.h"

namespace soundspot::signal {
namespace {

constexpr int kFractionBits = 22;

/// Keys' cubic convolution with a = −0.5.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

double triangle(double x) { return std::max(0.0, 1 - std::abs(x)); }

/// A function of the distance to an output, in pixels of the coarser grid, that is 0 beyond `support`.
struct Filter {
  double (*weight)(double);
  double support;
};

constexpr Filter kBicubic{cubic, 2};
constexpr Filter kBilinear{triangle, 1};

/// The inputs of the output positions begin … begin + count − 1 of one axis.
struct Axis {
  int64_t taps;                  // upper bound of the inputs to an output
  std::vector<int64_t> first;    // the first input of each output
  std::vector<int64_t> length;   // and their number
  std::vector<int32_t> weights;  // [count, taps]

  Axis(const Filter& filter, int64_t input, int64_t output, int64_t begin, int64_t count)
      : first(count), length(count) {
    const double scale = static_cast<double>(input) / static_cast<double>(output);
    const double filter_scale = std::max(scale, 1.0);
    const double support = filter.support * filter_scale;
    taps = 2 * static_cast<int64_t>(std::ceil(support)) + 1;
    weights.resize(count * taps);
    std::vector<double> exact(taps);
    for (int64_t i = 0; i < count; ++i) {
      const double center = (static_cast<double>(begin + i) + 0.5) * scale;
      first[i] = std::max<int64_t>(0, static_cast<int64_t>(center - support + 0.5));
      length[i] = std::min(input, static_cast<int64_t>(center + support + 0.5)) - first[i];
      double sum = 0;
      for (int64_t k = 0; k < length[i]; ++k) {
        exact[k] = filter.weight((static_cast<double>(first[i] + k) - center + 0.5) * (1.0 / filter_scale));
        sum += exact[k];
      }
      for (int64_t k = 0; k < length[i]; ++k) {
        const double weight = sum == 0 ? exact[k] : exact[k] / sum;
        const double rounding = weight < 0 ? -0.5 : 0.5;
        weights[i * taps + k] = static_cast<int32_t>(rounding + weight * (1 << kFractionBits));
      }
    }
  }
};

uint8_t to_byte(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255)); }

constexpr int32_t kHalf = 1 << (kFractionBits - 1);

/// One row of pixels along x. `in` is the whole row; `out` holds as many pixels as the axis has outputs.
void resample_row(const uint8_t* in, uint8_t* out, const Axis& axis) {
  const auto count = static_cast<int64_t>(axis.first.size());
  for (int64_t x = 0; x < count; ++x) {
    const uint8_t* pixel = in + 3 * axis.first[x];
    const int32_t* const weights = axis.weights.data() + x * axis.taps;
    int32_t red = kHalf, green = kHalf, blue = kHalf;
    for (int64_t k = 0; k < axis.length[x]; ++k, pixel += 3) {
      red += weights[k] * pixel[0];
      green += weights[k] * pixel[1];
      blue += weights[k] * pixel[2];
    }
    out[3 * x] = to_byte(red);
    out[3 * x + 1] = to_byte(green);
    out[3 * x + 2] = to_byte(blue);
  }
}

void add_scaled(int32_t* __restrict sum, const uint8_t* __restrict values, int32_t weight, int64_t count) {
  for (int64_t i = 0; i < count; ++i) sum[i] += weight * values[i];
}

Tensor resize(const Filter& filter, const Tensor& image, int64_t height, int64_t width, const Rectangle& crop);

}  // namespace

void check_image(const Tensor& image) {
  if (image.dim() != 3 || image.size(2) != 3 || image.scalar_type() != at::kByte || !image.device().is_cpu()) {
    throw Error("ERR_SHAPE", "An image must be a [height, width, 3] uint8 tensor on the CPU.");
  }
  for (const int64_t side : {image.size(0), image.size(1)}) {
    if (side < 1 || side > kMaxImageSide) {
      throw Error("ERR_SHAPE", "An image's sides must be from 1 to 65535 pixels, got " + std::to_string(side) + ".");
    }
  }
}

Tensor resize_bicubic(const Tensor& image, int64_t height, int64_t width) {
  return resize(kBicubic, image, height, width, {0, 0, height, width});
}

Tensor resize_bicubic(const Tensor& image, int64_t height, int64_t width, const Rectangle& crop) {
  return resize(kBicubic, image, height, width, crop);
}

Tensor resize_bilinear(const Tensor& image, int64_t height, int64_t width) {
  return resize(kBilinear, image, height, width, {0, 0, height, width});
}

namespace {

Tensor resize(const Filter& filter, const Tensor& image, int64_t height, int64_t width, const Rectangle& crop) {
  check_image(image);
  for (const int64_t side : {height, width}) {
    if (side < 1 || side > kMaxImageSide) {
      throw Error("ERR_INPUT", "An image can be resized to 1 to 65535 pixels, got " + std::to_string(side) + ".");
    }
  }
  if (crop.height < 1 || crop.width < 1 || crop.top < 0 || crop.left < 0 || crop.top > height - crop.height ||
      crop.left > width - crop.width) {
    throw Error("ERR_INPUT", "The part to crop must be inside the resized image.");
  }

  // Pillow's one exception to its order: a very tall image is first shortened.
  if (image.size(0) > 100 * image.size(1) && height < image.size(0) && width != image.size(1)) {
    const Tensor shortened = resize(filter, image, height, image.size(1), {0, 0, height, image.size(1)});
    return resize(filter, shortened, height, width, crop);
  }

  const Tensor source = image.contiguous();
  const int64_t source_row = 3 * source.size(1);
  const int64_t row = 3 * crop.width;
  const Axis vertical(filter, source.size(0), height, crop.top, crop.height);
  const int64_t first = vertical.first.front();  // the rows that the crop reads are first … last − 1
  const int64_t last = vertical.first.back() + vertical.length.back();

  // [last − first, crop.width, 3]; Pillow leaves out the pass along an axis whose size stays.
  const uint8_t* const in = source.const_data_ptr<uint8_t>() + first * source_row;
  std::vector<uint8_t> narrowed((last - first) * row);
  if (width == source.size(1)) {
    for (int64_t y = 0; y < last - first; ++y) {
      std::memcpy(narrowed.data() + y * row, in + y * source_row + 3 * crop.left, row);
    }
  } else {
    const Axis horizontal(filter, source.size(1), width, crop.left, crop.width);
    for (int64_t y = 0; y < last - first; ++y) {
      resample_row(in + y * source_row, narrowed.data() + y * row, horizontal);
    }
  }

  Tensor output = at::empty({crop.height, crop.width, 3}, at::kByte);
  uint8_t* const out = output.mutable_data_ptr<uint8_t>();
  std::vector<int32_t> sum(row);
  for (int64_t y = 0; y < crop.height; ++y) {
    if (height == source.size(0)) {
      std::memcpy(out + y * row, narrowed.data() + (crop.top + y - first) * row, row);
      continue;
    }
    std::fill(sum.begin(), sum.end(), kHalf);
    for (int64_t k = 0; k < vertical.length[y]; ++k) {
      const int64_t from = vertical.first[y] - first + k;
      add_scaled(sum.data(), narrowed.data() + from * row, vertical.weights[y * vertical.taps + k], row);
    }
    for (int64_t i = 0; i < row; ++i) out[y * row + i] = to_byte(sum[i]);
  }
  return output;
}

}  // namespace

Tensor normalize_image(const Tensor& image) {
  check_image(image);
  Tensor output = at::empty({3, image.size(0), image.size(1)}, at::kFloat);
  normalize_image(image, output.mutable_data_ptr<float>());
  return output;
}

void normalize_image(const Tensor& image, float* out) {
  check_image(image);
  std::array<std::array<float, 256>, 3> table;
  for (size_t channel = 0; channel < 3; ++channel) {
    for (size_t value = 0; value < 256; ++value) {
      table[channel][value] = normalized(static_cast<uint8_t>(value), static_cast<int>(channel));
    }
  }
  const Tensor input = image.contiguous();
  const int64_t pixels = input.size(0) * input.size(1);
  const uint8_t* const in = input.const_data_ptr<uint8_t>();
  for (int64_t i = 0; i < pixels; ++i) {
    out[i] = table[0][in[3 * i]];
    out[pixels + i] = table[1][in[3 * i + 1]];
    out[2 * pixels + i] = table[2][in[3 * i + 2]];
  }
}

}  // namespace soundspot::signal
