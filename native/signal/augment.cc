// Augmentation of images and spectrograms.
#include "signal/augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "signal/blur.h"
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
  require(options.crop != Crop::kShortSide || (options.resize >= options.size && options.resize <= kMaxImageSide),
          "augmentation: resize must be from size to 65535.");
  for (const double probability :
       {options.blur_probability, options.flip_probability, options.vertical_flip_probability,
        options.jitter_probability, options.grey_probability, options.hide_probability}) {
    require(within(probability, 0, 1), "augmentation: a probability must be from 0 to 1.");
  }
  require(options.crop_area_min > 0 && options.crop_area_min <= options.crop_area_max && options.crop_area_max <= 1,
          "augmentation: cropScale must be two numbers above 0 and up to 1, the smaller first.");
  require(options.crop_ratio_min > 0 && options.crop_ratio_min <= options.crop_ratio_max &&
              std::isfinite(options.crop_ratio_max),
          "augmentation: cropRatio must be two numbers above 0, the smaller first.");
  require(within(options.translate, 0, 1), "augmentation: translate must be from 0 to 1.");
  require(options.hide_grid >= 1 && options.hide_grid <= kMostPatches, "augmentation: hideGrid must be from 1 to 16.");
  require(kBlurTaps / 2 < options.size, "augmentation: size must be greater than 2.");
  require(options.blur_sigma_min > 0 && options.blur_sigma_min <= options.blur_sigma_max &&
              std::isfinite(options.blur_sigma_max),
          "augmentation: blur sigmas must be above 0, the smaller first.");
  for (const double strength : {options.brightness, options.contrast, options.saturation}) {
    require(within(strength, 0, 1000), "augmentation: brightness, contrast and saturation must be from 0 to 1000.");
  }
  require(within(options.hue, 0, 0.5), "augmentation: hue must be from 0 to 0.5.");
}

struct Size {
  int64_t height, width;
};

/// Of an image whose short side becomes `side`: the long side truncated.
/// @throws Error ERR_INPUT when it would pass kMaxImageSide.
Size with_short_side(const Tensor& image, int64_t side) {
  const int64_t height = image.size(0), width = image.size(1);
  const int64_t scaled = side * std::max(height, width) / std::min(height, width);
  if (scaled > kMaxImageSide) {
    throw Error("ERR_INPUT", "An image of " + std::to_string(width) + " x " + std::to_string(height) +
                                 " pixels is too narrow to resize by its short side.");
  }
  return height <= width ? Size{side, scaled} : Size{scaled, side};
}

/// Short side to `resize`, then a square cut out at random. `[size, size, 3]`
Tensor crop_of_short_side(const Tensor& image, const ImageAugmentation& options, Random& random) {
  const auto [new_height, new_width] = with_short_side(image, options.resize);
  const int64_t top = random.integer(new_height - options.size + 1);
  const int64_t left = random.integer(new_width - options.size + 1);
  return resize_bicubic(image, new_height, new_width, {top, left, options.size, options.size});
}

/// The part that RandomResizedCrop draws: of ten draws the first that fits, or else the middle with the nearest ratio.
Rectangle draw_part(int64_t height, int64_t width, const ImageAugmentation& options, Random& random) {
  const double area = static_cast<double>(height) * static_cast<double>(width);
  const double ratio_min = std::log(options.crop_ratio_min), ratio_max = std::log(options.crop_ratio_max);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * random.uniform(options.crop_area_min, options.crop_area_max);
    const double ratio = std::exp(random.uniform(ratio_min, ratio_max));
    const double part_width = std::nearbyint(std::sqrt(target * ratio));
    const double part_height = std::nearbyint(std::sqrt(target / ratio));
    if (!within(part_width, 1, static_cast<double>(width)) || !within(part_height, 1, static_cast<double>(height))) {
      continue;
    }
    const auto columns = static_cast<int64_t>(part_width), rows = static_cast<int64_t>(part_height);
    const int64_t top = random.integer(height - rows + 1);
    return {top, random.integer(width - columns + 1), rows, columns};
  }
  const double ratio = static_cast<double>(width) / static_cast<double>(height);
  int64_t rows = height, columns = width;
  if (ratio < options.crop_ratio_min) {
    rows = std::max<int64_t>(1, std::llrint(static_cast<double>(width) / options.crop_ratio_min));
  } else if (ratio > options.crop_ratio_max) {
    columns = std::max<int64_t>(1, std::llrint(static_cast<double>(height) * options.crop_ratio_max));
  }
  return {(height - rows) / 2, (width - columns) / 2, rows, columns};
}

Tensor crop_resized(const Tensor& image, const ImageAugmentation& options, Random& random) {
  const auto [top, left, height, width] = draw_part(image.size(0), image.size(1), options, random);
  return resize_bilinear(image.narrow(0, top, height).narrow(1, left, width), options.size, options.size);
}

/// The square before any other change. `[size, size, 3]`
Tensor square_of(const Tensor& image, const ImageAugmentation& options, Random& random) {
  switch (options.crop) {
    case Crop::kWhole:
      return resize_bicubic(image, options.size, options.size);
    case Crop::kResized:
      return crop_resized(image, options, random);
    default:
      return crop_of_short_side(image, options, random);
  }
}

Pixels pixels_of(const Tensor& square) {
  return {square.mutable_data_ptr<uint8_t>(), static_cast<size_t>(square.numel())};
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

/// Moves the image by `right` and `down` pixels, of either sign; what enters is black.
Tensor shifted(const Tensor& image, int64_t right, int64_t down) {
  const int64_t size = image.size(0);
  Tensor result = at::zeros_like(image);
  const int64_t height = size - std::abs(down), width = size - std::abs(right);
  if (height <= 0 || width <= 0) return result;
  const auto part = [&](const Tensor& of, int64_t top, int64_t left) {
    return of.narrow(0, std::max<int64_t>(0, top), height).narrow(1, std::max<int64_t>(0, left), width);
  };
  part(result, down, right).copy_(part(image, -down, -right));
  return result;
}

void hide_patches(Pixels pixels, int64_t size, const ImageChange& change) {
  const Rgb shown = hidden_pixel();
  for (int64_t y = 0; y < size; ++y) {
    for (int64_t x = 0; x < size; ++x) {
      if (change.hides(y, x, size)) std::copy_n(shown.v, 3, pixels.data() + 3 * (y * size + x));
    }
  }
}

/// Draws the strengths of torchvision's ColorJitter: four changes, in random order.
void draw_jitter(ImageChange& change, const ImageAugmentation& options, Random& random) {
  const auto factor = [&](double strength) {
    return static_cast<float>(random.uniform(std::max(0.0, 1 - strength), 1 + strength));
  };
  change.jitter = 1;
  change.brightness = factor(options.brightness);
  change.contrast = factor(options.contrast);
  change.saturation = factor(options.saturation);
  // A negative shift wraps around.
  change.hue = static_cast<uint8_t>(static_cast<int>(random.uniform(-options.hue, options.hue) * 255));

  std::array<uint32_t, 4> order{kBrightness, kContrast, kSaturation, kHue};
  for (int64_t last = 3; last > 0; --last) std::swap(order[last], order[random.integer(last + 1)]);
  change.order = order[0] | order[1] << 8 | order[2] << 16 | order[3] << 24;
}

void jitter(Pixels pixels, const ImageChange& change) {
  for (int place = 0; place < 4; ++place) {
    switch (change.colour(place)) {
      case kBrightness:
        adjust_brightness(pixels, change.brightness);
        break;
      case kContrast:
        adjust_contrast(pixels, change.contrast);
        break;
      case kSaturation:
        adjust_saturation(pixels, change.saturation);
        break;
      default:
        adjust_hue(pixels, change.hue);
    }
  }
}

ImageChange draw_change(const ImageAugmentation& options, Random& random) {
  ImageChange change;
  if (random.chance(options.blur_probability)) {
    const double sigma = random.uniform(options.blur_sigma_min, options.blur_sigma_max);
    if (options.blur == Blur::kPillow) {
      set_box_blur(change, sigma);
    } else {
      set_gaussian_blur(change, sigma);
    }
  }
  change.flip = random.chance(options.flip_probability);
  if (random.chance(options.jitter_probability)) draw_jitter(change, options, random);
  change.grey = random.chance(options.grey_probability);
  change.vertical_flip = random.chance(options.vertical_flip_probability);
  if (options.translate > 0) {
    // torchvision's RandomAffine with a translation alone.
    const double most = options.translate * static_cast<double>(options.size);
    const auto draw = [&] { return static_cast<int32_t>(std::nearbyint(random.uniform(-most, most))); };
    change.right = draw();
    change.down = draw();
  }
  if (options.hide_probability > 0) {
    change.grid = static_cast<int32_t>(options.hide_grid);
    for (int64_t patch = 0; patch < options.hide_grid * options.hide_grid; ++patch) {
      if (random.chance(options.hide_probability)) change.hidden[patch / 32] |= 1U << (patch % 32);
    }
  }
  return change;
}

/// Sets a band of `axis` whose width is drawn from 0 … widest and whose start leaves it inside.
void mask_axis(Tensor& spectrogram, int64_t axis, int64_t widest, float value, Random& random) {
  const int64_t size = spectrogram.size(axis);
  const int64_t width = random.integer(std::min(widest, size) + 1);
  const int64_t start = random.integer(size - width + 1);
  spectrogram.narrow(axis, start, width).fill_(value);
}

}  // namespace

Tensor before_crop(const Tensor& image, Crop crop, int64_t side) {
  check_image(image);
  const at::NoGradGuard no_grad;
  if (crop == Crop::kResized) return image;
  const auto [height, width] = crop == Crop::kWhole ? Size{side, side} : with_short_side(image, side);
  return resize_bicubic(image, height, width);
}

DrawnImage draw_augmentation(const Tensor& image, const ImageAugmentation& options, uint64_t seed) {
  check_image(image);
  check_options(options);
  const at::NoGradGuard no_grad;
  Random random(seed);
  Tensor square = square_of(image, options, random);
  return {std::move(square), draw_change(options, random)};
}

Tensor bytes_of(const ImageChange& change) {
  const Tensor bytes = at::empty({static_cast<int64_t>(sizeof(change))}, at::kByte);
  std::memcpy(bytes.mutable_data_ptr<uint8_t>(), &change, sizeof(change));
  return bytes;
}

Tensor apply_change(DrawnImage image) {
  auto& [square, change] = image;
  const at::NoGradGuard no_grad;
  const int64_t size = square.size(0);
  const Pixels pixels = pixels_of(square);
  blur(pixels, size, change);
  if (change.flip != 0) flip(pixels, size);
  if (change.jitter != 0) jitter(pixels, change);
  if (change.grey != 0) make_grey(pixels);
  if (change.vertical_flip != 0) flip_vertically(pixels, size);
  if (change.right != 0 || change.down != 0) square = shifted(square, change.right, change.down);
  if (change.grid != 0) hide_patches(pixels_of(square), size, change);
  return square;
}

int64_t random_begin(double from, double to, const SpectrogramOptions& audio, uint64_t seed) {
  const auto samples = [&](double seconds) { return std::llround(seconds * static_cast<double>(audio.sample_rate)); };
  const int64_t first = samples(from), last = samples(to) - samples(audio.seconds);
  require(first >= 0 && last >= first,
          "train.augment.audioRange must be at least as long as the audio window, model.audio.seconds.");
  constexpr uint64_t kStream = 0xd1b54a32d192ed03;  // another than those of image and masks
  return first + Random(seed ^ kStream).integer(last - first + 1);
}

namespace {

/// Whether a seed masks a spectrogram at all.
/// @throws Error ERR_SHAPE, ERR_CONFIG
bool is_masked(const Tensor& spectrogram, const SpectrogramMasking& options, uint64_t seed) {
  if (spectrogram.dim() != 3 || spectrogram.size(0) != 1 || spectrogram.scalar_type() != at::kFloat) {
    throw Error("ERR_SHAPE", "A spectrogram must be a [1, frequencies, frames] float32 tensor.");
  }
  require(options.frequency_width >= 0 && options.time_width >= 0, "masking: widths must not be negative.");
  require(within(options.probability, 0, 1), "masking: a probability must be from 0 to 1.");
  // A stream of its own: the masks of a seed do not depend on the probability.
  return options.enabled && Random(~seed).chance(options.probability);
}

}  // namespace

Tensor mask_spectrogram(const Tensor& spectrogram, const SpectrogramMasking& options, uint64_t seed) {
  if (!is_masked(spectrogram, options, seed)) return spectrogram;
  const at::NoGradGuard no_grad;
  Tensor masked = spectrogram.clone();
  mask_in_place(masked, options, seed);
  return masked;
}

void mask_in_place(Tensor& spectrogram, const SpectrogramMasking& options, uint64_t seed) {
  if (!is_masked(spectrogram, options, seed)) return;
  const at::NoGradGuard no_grad;
  Random random(seed);
  mask_axis(spectrogram, 1, options.frequency_width, options.value, random);
  mask_axis(spectrogram, 2, options.time_width, options.value, random);
}

}  // namespace soundspot::signal
