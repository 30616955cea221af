// Random changes of training images and spectrograms, each a function of its input and one seed.
#pragma once

#include <cstdint>

#include "core/torch.h"

namespace soundspot::signal {

/// Of images (docs/method.md, "Training"); the defaults are the published ones. Probabilities are in [0, 1].
struct ImageAugmentation {
  int64_t size = 224;                    ///< pixels of the square result
  int64_t resize = 246;                  ///< short side before the crop, at least `size`
  bool crop = true;                      ///< false: the whole image is resized to the square, as in evaluation
  double blur_probability = 0.8;         ///< Gaussian blur
  int64_t blur_kernel = 5;               ///< pixels, odd, less than 2 · size
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
};

/// Resize, random crop, blur, flip, colour jitter in random order, grey: torchvision's transforms on 8-bit images.
///
/// @param image `[H, W, 3]` uint8, RGB.
/// @param seed names the change: the same seed, image and options give the same result.
/// @return `[size, size, 3]` uint8, contiguous, with memory of its own.
/// @throws Error ERR_SHAPE (image), ERR_CONFIG (options), ERR_INPUT (the resized long side would pass 65,535).
Tensor augment_image(const Tensor& image, const ImageAugmentation& options, uint64_t seed);

/// The augmentation of spectrograms (docs/method.md, "Training"): one mask over frequencies and one over frames.
struct SpectrogramMasking {
  int64_t frequency_width = 9;  ///< rows; the mask's width is drawn from 0 … frequency_width
  int64_t time_width = 9;       ///< frames; likewise
  bool enabled = true;
};

/// Sets one band of rows and one of frames to 0, each placed anywhere on its own axis. (The published code draws
/// a mask's start from the length of the other axis.) Masking after the division by `scale` gives the same.
///
/// @param spectrogram `[1, F, T]` float32, left as it is.
/// @return `[1, F, T]` float32; the input itself when masking is not enabled.
/// @throws Error ERR_SHAPE, ERR_CONFIG (a negative width).
Tensor mask_spectrogram(const Tensor& spectrogram, const SpectrogramMasking& options, uint64_t seed);

}  // namespace soundspot::signal
