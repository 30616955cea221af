// Random changes of training images and spectrograms, each a function of its input and one seed.
#pragma once

#include <cstdint>

#include "core/torch.h"
#include "signal/pixel.h"
#include "signal/spectrogram.h"

namespace soundspot::signal {

/// Which part of an image becomes the square.
enum class Crop {
  kWhole,      ///< all of it, resized as in evaluation
  kShortSide,  ///< short side to `resize`, then a square of `size` at a random place
  kResized,    ///< a part of random area and aspect ratio: torchvision's RandomResizedCrop, bilinear
};

enum class Blur {
  kKernel,  ///< torchvision's gaussian_blur of kBlurTaps pixels
  kPillow,  ///< Pillow's GaussianBlur, as wide as the radius asks for
};

/// Of images (docs/method.md, "Training"); the defaults are the published ones. Probabilities are in [0, 1].
struct ImageAugmentation {
  int64_t size = 224;    ///< pixels of the square result
  int64_t resize = 246;  ///< short side before the crop, at least `size`
  Crop crop = Crop::kShortSide;
  double crop_area_min = 0.3;       ///< share of the image's area that kResized takes, above 0
  double crop_area_max = 1;         ///< at most 1
  double crop_ratio_min = 3.0 / 4;  ///< width over height of that part, above 0
  double crop_ratio_max = 4.0 / 3;
  double blur_probability = 0.8;  ///< Gaussian blur
  Blur blur = Blur::kKernel;
  double blur_sigma_min = 0.1;           ///< pixels, above 0
  double blur_sigma_max = 2;             ///< pixels
  double flip_probability = 0.5;         ///< left and right exchanged
  double vertical_flip_probability = 0;  ///< top and bottom exchanged; not in the paper
  double jitter_probability = 0.8;
  double brightness = 0.8;  ///< factor in [max(0, 1 − brightness), 1 + brightness); contrast, saturation alike
  double contrast = 0.8;
  double saturation = 0.8;
  double hue = 0.2;  ///< shift in [−hue, hue) of a full circle, 0 … 0.5
  double grey_probability = 0.2;
  double translate = 0;  ///< greatest shift along each axis as a share of the side, 0 … 1; what enters is black
  double hide_probability = 0;  ///< of each patch of a grid over the result, not in the paper
  int64_t hide_grid = 7;        ///< patches along each side, 1 … kMostPatches
};

/// A square, and what is still to be done to it.
struct DrawnImage {
  Tensor pixels;  // [size, size, 3] uint8, contiguous, with memory of its own
  ImageChange change;
};

/// What `draw_augmentation` with this crop starts from, and gives the same result from: all of the image resized to
/// `side` for kWhole, its short side resized to `side` for kShortSide, the image itself for kResized.
///
/// @param image `[H, W, 3]` uint8, RGB.
/// @param side `size` or `resize` of the augmentation, 1 … 65,535.
/// @throws Error as draw_augmentation.
Tensor before_crop(const Tensor& image, Crop crop, int64_t side);

/// Random crop, blur, flip, colour jitter in random order, grey, shift: torchvision's transforms on 8-bit images. Then
/// patches of a grid are hidden: Hide-and-Seek (Singh and Lee, ICCV 2017). The crop is made; the other changes are
/// drawn, to be made here or on a device.
///
/// @param image `[H, W, 3]` uint8, RGB.
/// @param seed names the change: the same seed, image and options give the same result.
/// @throws Error ERR_SHAPE (image), ERR_CONFIG (options), ERR_INPUT (the resized long side would pass 65,535).
DrawnImage draw_augmentation(const Tensor& image, const ImageAugmentation& options, uint64_t seed);

/// The bytes of a change, [n] uint8, as a device takes them.
Tensor bytes_of(const ImageChange& change);

/// Makes the changes that were drawn.
/// @return `[size, size, 3]` uint8, contiguous; memory of `image` is used again.
Tensor apply_change(DrawnImage image);

/// The first sample of an audio window at a random place between two moments of a clip.
///
/// @param from, to in seconds, 0 ≤ from; the window lies inside them.
/// @return 0 or more, at the sample rate of `audio`.
/// @throws Error ERR_CONFIG when they are closer than the window is long.
int64_t random_begin(double from, double to, const SpectrogramOptions& audio, uint64_t seed);

/// The augmentation of spectrograms (docs/method.md, "Training"): one mask over frequencies and one over frames.
struct SpectrogramMasking {
  int64_t frequency_width = 9;  ///< rows; the mask's width is drawn from 0 … frequency_width
  int64_t time_width = 9;       ///< frames; likewise
  double probability = 1;       ///< that a spectrogram is masked at all
  float value = 0;              ///< of what is masked
  bool enabled = true;
};

/// Sets one band of rows and one of frames to `value`, each placed anywhere on its own axis. (The published code draws
/// a mask's start from the length of the other axis.) Masking after the division by `scale` gives the same.
///
/// @param spectrogram `[1, F, T]` float32, left as it is.
/// @return `[1, F, T]` float32; the input itself when masking is not enabled.
/// @throws Error ERR_SHAPE, ERR_CONFIG (a negative width).
Tensor mask_spectrogram(const Tensor& spectrogram, const SpectrogramMasking& options, uint64_t seed);

/// The same in place.
void mask_in_place(Tensor& spectrogram, const SpectrogramMasking& options, uint64_t seed);

}  // namespace soundspot::signal
