// The augmentation of training samples, from JavaScript to the module signal.
#pragma once

#include <optional>
#include <utility>

#include "binding/convert.h"
#include "signal/augment.h"

namespace soundspot::binding {

/// An AugmentConfig of src/config/train.ts, for one model.
struct Augmentation {
  signal::ImageAugmentation image;
  signal::SpectrogramMasking masks;
  std::optional<std::pair<double, double>> audio_range;  ///< seconds that a random audio window lies in
};

/// None where the value is undefined: samples as in evaluation.
std::optional<Augmentation> augmentation(const Napi::Value& value, const encoders::ModelConfig& config);

/// The seed of the masks: another stream than the image's, from the same seed.
inline uint64_t mask_seed(uint64_t seed) { return seed ^ 0x9e3779b97f4a7c15ULL; }

/// A square of `size` and what is still to be done to it; without augmentation the image resized.
signal::DrawnImage drawn_image(const Tensor& pixels, const std::optional<Augmentation>& augmentation, int64_t size,
                               uint64_t seed);

/// Whether the model of a call's argument, if any, is on a device that makes the changes of images itself.
bool left_to_device(const Napi::Value& model);

}  // namespace soundspot::binding
