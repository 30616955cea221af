#include "methods/localizer.h"

#include <sstream>

#include "core/autocast.h"
#include "core/error.h"

namespace soundspot::methods {

Localizer::Localizer(const encoders::ModelConfig& config, std::optional<uint64_t> seed, at::Device device)
    : config_(config),
      device_(device),
      image_encoder_(encoders::Encoder::image(config)),
      audio_encoder_(encoders::Encoder::audio(config)),
      method_(methods::make(config)) {
  const at::NoGradGuard no_grad;
  std::optional<at::Generator> generator;
  if (seed) generator = at::make_generator<at::CPUGeneratorImpl>(*seed);
  core::Initializer initializer(parameters_, std::move(generator), device);
  image_encoder_.initialize(initializer);
  audio_encoder_.initialize(initializer);
  method_->initialize(initializer);
  for (const core::Parameter& parameter : parameters_.all()) {
    if (parameter.trainable && method_->kind(parameter.name) != ParameterKind::kTrained) {
      parameters_.exclude_from_training(parameter.name);
    }
  }
}

void check_shapes(const encoders::ModelConfig& config, const Tensor& images, const Tensor& spectrograms) {
  const int64_t size = config.image_size;
  const bool image_ok = images.dim() == 4 && images.size(1) == 3 && images.size(2) == size && images.size(3) == size;
  const bool audio_ok = spectrograms.dim() == 4 && spectrograms.size(1) == 1 &&
                        spectrograms.size(2) == config.frequency_bins() && spectrograms.size(3) == config.frames();
  if (image_ok && audio_ok && images.size(0) == spectrograms.size(0) && images.size(0) > 0) return;
  std::ostringstream message;
  message << "This model takes images [B, 3, " << size << ", " << size << "] and spectrograms [B, 1, "
          << config.frequency_bins() << ", " << config.frames() << "] of one batch size; it was given "
          << images.sizes() << " and " << spectrograms.sizes() << ".";
  throw Error("ERR_SHAPE", message.str());
}

encoders::EncoderOutputs Localizer::encode(const Tensor& images, const Tensor& spectrograms,
                                           const core::Compute& compute) const {
  const at::NoGradGuard no_grad;
  const core::Autocast autocast(compute);
  encoders::EncoderOutputs tokens;
  if (images.defined()) tokens.image = image_encoder_.forward(parameters_, images, encoders::Pass::kEvaluation);
  if (spectrograms.defined())
    tokens.audio = audio_encoder_.forward(parameters_, spectrograms, encoders::Pass::kEvaluation);
  return tokens;
}

Tensor Localizer::objectness(const Tensor& images) const {
  const at::NoGradGuard no_grad;
  return image_encoder_.trunk(parameters_, images, encoders::Pass::kEvaluation).abs().mean(1).contiguous();
}

}  // namespace soundspot::methods
