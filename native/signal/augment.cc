// Augmentation of images and spectrograms.
#include "signal/augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "signal/colour.h"
#include "signal/random.h"
#include "signal/resize.h"

namespace soundspot::signal {
namespace {

void require(bool condition, const char* message) {
  if (!condition) throw Error("ERR_CONFIG", message);
}

bool within(double value, double low, double high) { return value >= low && value <= high; }

void check_options(const ImageAugmentation& options) {
  require(options.size >= 1 && options.size <= kMaxImageSide, "augmentation: size must be from 1 to 65535.");
  require(!options.crop || (options.resize >= options.size && options.resize <= kMaxImageSide),
          "augmentation: resize must be from size to 65535.");
  for (const double probability :
       {options.blur_probability, options.flip_probability, options.vertical_flip_probability,
        options.jitter_probability, options.grey_probability}) {
    require(within(probability, 0, 1), "augmentation: a probability must be from 0 to 1.");
  }
  require(options.blur_kernel >= 1 && options.blur_kernel % 2 == 1 && options.blur_kernel / 2 < options.size,
          "augmentation: blurKernel must be odd and less than twice the size.");
  require(options.blur_sigma_min > 0 && options.blur_sigma_min <= options.blur_sigma_max &&
              std::isfinite(options.blur_sigma_max),
          "augmentation: blur sigmas must be above 0, the smaller first.");
  for (const double strength : {options.brightness, options.contrast, options.saturation}) {
    require(within(strength, 0, 1000), "augmentation: brightness, contrast and saturation must be from 0 to 1000.");
  }
  require(within(options.hue, 0, 0.5), "augmentation: hue must be from 0 to 0.5.");
}

/// Short side to `resize`, the long side truncated, then a square cut out at random. `[size, size, 3]`
Tensor resize_and_crop(const Tensor& image, const ImageAugmentation& options, Random& random) {
  if (!options.crop) return resize_bicubic(image, options.size, options.size);
  const int64_t height = image.size(0), width = image.size(1);
  const int64_t scaled = options.resize * std::max(height, width) / std::min(height, width);
  if (scaled > kMaxImageSide) {
    throw Error("ERR_INPUT", "An image of " + std::to_string(width) + " x " + std::to_string(height) +
                                 " pixels is too narrow to resize by its short side.");
  }
  const int64_t new_height = height <= width ? options.resize : scaled;
  const int64_t new_width = height <= width ? scaled : options.resize;
  const int64_t top = random.integer(new_height - options.size + 1);
  const int64_t left = random.integer(new_width - options.size + 1);
  return resize_bicubic(image, new_height, new_width, {top, left, options.size, options.size});
}

std::vector<float> gaussian(int64_t size, double sigma) {
  std::vector<float> weights(size);
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) {
    const double x = static_cast<double>(i - size / 2) / sigma;
    sum += std::exp(-0.5 * x * x);
  }
  for (int64_t i = 0; i < size; ++i) {
    const double x = static_cast<double>(i - size / 2) / sigma;
    weights[i] = static_cast<float>(std::exp(-0.5 * x * x) / sum);
  }
  return weights;
}

/// Position `i` of an axis of `size` that is mirrored at both ends, the ends not repeated.
int64_t reflect(int64_t i, int64_t size) { return i < 0 ? -i : i >= size ? 2 * (size - 1) - i : i; }

void add_scaled(float* __restrict sum, const float* __restrict values, float weight, int64_t count) {
  for (int64_t i = 0; i < count; ++i) sum[i] += weight * values[i];
}

/// torchvision's gaussian_blur: reflected borders, rounded to 8 bits; done as rows, then columns.
void blur(Pixels pixels, int64_t size, const std::vector<float>& weights) {
  const auto taps = static_cast<int64_t>(weights.size());
  const int64_t radius = taps / 2;
  const int64_t row_length = 3 * size;

  std::vector<float> padded(row_length + 6 * radius);
  std::vector<float> rows(size * row_length);  // blurred along x
  for (int64_t y = 0; y < size; ++y) {
    const uint8_t* const row = pixels.data() + y * row_length;
    for (int64_t i = 0; i < row_length; ++i) padded[3 * radius + i] = row[i];
    for (int64_t x = 0; x < radius; ++x) {
      for (int64_t channel = 0; channel < 3; ++channel) {
        padded[3 * x + channel] = row[3 * reflect(x - radius, size) + channel];
        padded[3 * (radius + size + x) + channel] = row[3 * reflect(size + x, size) + channel];
      }
    }
    for (int64_t k = 0; k < taps; ++k) {
      add_scaled(rows.data() + y * row_length, padded.data() + 3 * k, weights[k], row_length);
    }
  }

  std::vector<float> sum(row_length);
  for (int64_t y = 0; y < size; ++y) {
    std::fill(sum.begin(), sum.end(), 0.0f);
    for (int64_t k = 0; k < taps; ++k) {
      add_scaled(sum.data(), rows.data() + reflect(y + k - radius, size) * row_length, weights[k], row_length);
    }
    uint8_t* const row = pixels.data() + y * row_length;
    for (int64_t i = 0; i < row_length; ++i) {
      row[i] = static_cast<uint8_t>(std::nearbyint(std::clamp(sum[i], 0.0f, 255.0f)));
    }
  }
}

void flip(Pixels pixels, int64_t size) {
  for (int64_t y = 0; y < size; ++y) {
    uint8_t* const row = pixels.data() + y * 3 * size;
    for (int64_t left = 0, right = size - 1; left < right; ++left, --right) {
      std::swap_ranges(row + 3 * left, row + 3 * left + 3, row + 3 * right);
    }
  }
}

void flip_vertically(Pixels pixels, int64_t size) {
  const int64_t row = 3 * size;
  for (int64_t top = 0, bottom = size - 1; top < bottom; ++top, --bottom) {
    std::swap_ranges(pixels.data() + top * row, pixels.data() + (top + 1) * row, pixels.data() + bottom * row);
  }
}

/// torchvision's ColorJitter: four changes, each of a random strength, in random order.
void jitter(Pixels pixels, const ImageAugmentation& options, Random& random) {
  const auto factor = [&](double strength) { return random.uniform(std::max(0.0, 1 - strength), 1 + strength); };
  const double brightness = factor(options.brightness);
  const double contrast = factor(options.contrast);
  const double saturation = factor(options.saturation);
  const double hue = random.uniform(-options.hue, options.hue);

  std::array<int, 4> order{0, 1, 2, 3};
  for (int64_t last = 3; last > 0; --last) std::swap(order[last], order[random.integer(last + 1)]);
  for (const int change : order) {
    switch (change) {
      case 0:
        adjust_brightness(pixels, brightness);
        break;
      case 1:
        adjust_contrast(pixels, contrast);
        break;
      case 2:
        adjust_saturation(pixels, saturation);
        break;
      default:
        adjust_hue(pixels, hue);
    }
  }
}

/// Zeroes a band of `axis` whose width is drawn from 0 … widest and whose start leaves it inside.
void mask_axis(Tensor& spectrogram, int64_t axis, int64_t widest, Random& random) {
  const int64_t size = spectrogram.size(axis);
  const int64_t width = random.integer(std::min(widest, size) + 1);
  const int64_t start = random.integer(size - width + 1);
  spectrogram.narrow(axis, start, width).zero_();
}

}  // namespace

Tensor augment_image(const Tensor& image, const ImageAugmentation& options, uint64_t seed) {
  check_image(image);
  check_options(options);
  const at::NoGradGuard no_grad;
  Random random(seed);
  Tensor output = resize_and_crop(image, options, random);
  const Pixels pixels(output.mutable_data_ptr<uint8_t>(), static_cast<size_t>(output.numel()));
  if (random.chance(options.blur_probability)) {
    const double sigma = random.uniform(options.blur_sigma_min, options.blur_sigma_max);
    blur(pixels, options.size, gaussian(options.blur_kernel, sigma));
  }
  if (random.chance(options.flip_probability)) flip(pixels, options.size);
  if (random.chance(options.jitter_probability)) jitter(pixels, options, random);
  if (random.chance(options.grey_probability)) make_grey(pixels);
  if (random.chance(options.vertical_flip_probability)) flip_vertically(pixels, options.size);
  return output;
}

Tensor mask_spectrogram(const Tensor& spectrogram, const SpectrogramMasking& options, uint64_t seed) {
  if (spectrogram.dim() != 3 || spectrogram.size(0) != 1 || spectrogram.scalar_type() != at::kFloat) {
    throw Error("ERR_SHAPE", "A spectrogram must be a [1, frequencies, frames] float32 tensor.");
  }
  require(options.frequency_width >= 0 && options.time_width >= 0, "masking: widths must not be negative.");
  if (!options.enabled) return spectrogram;
  const at::NoGradGuard no_grad;
  Random random(seed);
  Tensor masked = spectrogram.clone();
  mask_axis(masked, 1, options.frequency_width, random);
  mask_axis(masked, 2, options.time_width, random);
  return masked;
}

}  // namespace soundspot::signal
