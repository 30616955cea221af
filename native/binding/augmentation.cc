#include "binding/augmentation.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "kernels/device.h"
#include "signal/resize.h"

namespace soundspot::binding {

namespace {

signal::Crop crop_of(const Napi::Value& value) {
  if (value.IsString()) return signal::Crop::kResized;
  return value.ToBoolean() ? signal::Crop::kShortSide : signal::Crop::kWhole;
}

/// Two numbers, such as [0.3, 1].
std::pair<double, double> range(const Napi::Object& object, const char* name) {
  const auto pair = object.Get(name).As<Napi::Array>();
  return {pair.Get(0u).ToNumber().DoubleValue(), pair.Get(1u).ToNumber().DoubleValue()};
}

signal::ImageAugmentation image_augmentation(const Napi::Object& object, int64_t size) {
  signal::ImageAugmentation options;
  options.size = size;
  options.resize = std::max(size, static_cast<int64_t>(std::llround(number(object, "resizeRatio") * size)));
  options.crop = crop_of(object.Get("crop"));
  std::tie(options.crop_area_min, options.crop_area_max) = range(object, "cropScale");
  std::tie(options.crop_ratio_min, options.crop_ratio_max) = range(object, "cropRatio");
  options.blur_probability = number(object, "blurProbability");
  options.blur = text(object, "blurKind") == "pillow" ? signal::Blur::kPillow : signal::Blur::kKernel;
  options.flip_probability = number(object, "flipProbability");
  options.vertical_flip_probability = number(object, "verticalFlipProbability");
  options.jitter_probability = number(object, "jitterProbability");
  options.brightness = number(object, "brightness");
  options.contrast = number(object, "contrast");
  options.saturation = number(object, "saturation");
  options.hue = number(object, "hue");
  options.grey_probability = number(object, "greyProbability");
  options.translate = number(object, "translate");
  options.hide_probability = number(object, "hideProbability");
  options.hide_grid = integer(object, "hideGrid");
  return options;
}

signal::SpectrogramMasking masking(const Napi::Object& object, const signal::SpectrogramOptions& audio) {
  signal::SpectrogramMasking options;
  options.frequency_width = integer(object, "frequencyMask");
  options.time_width = integer(object, "timeMask");
  options.probability = number(object, "maskProbability");
  options.value = text(object, "maskValue") == "floor" ? signal::floor_value(audio) : 0;
  return options;
}

}  // namespace

std::optional<Augmentation> augmentation(const Napi::Value& value, const encoders::ModelConfig& config) {
  if (!value.IsObject()) return std::nullopt;
  const auto object = value.As<Napi::Object>();
  Augmentation result{image_augmentation(object, config.image_size), masking(object, config.audio), std::nullopt};
  if (object.Get("audioRange").IsArray()) result.audio_range = range(object, "audioRange");
  return result;
}

signal::DrawnImage drawn_image(const Tensor& pixels, const std::optional<Augmentation>& augmentation, int64_t size,
                               uint64_t seed) {
  if (augmentation) return signal::draw_augmentation(pixels, augmentation->image, seed);
  return {signal::resize_bicubic(pixels, size, size), {}};
}

bool left_to_device(const Napi::Value& model) {
  return model.IsExternal() && kernels::kernels_of(unwrap<ModelHandle>(model)->localizer->device()) != nullptr;
}

}  // namespace soundspot::binding
