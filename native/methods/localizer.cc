#include "methods/localizer.h"

#include <sstream>

#include "core/autocast.h"
#include "core/error.h"

namespace soundspot::methods {

namespace {

std::optional<Encoders> copied(const Encoders& encoders, const std::string& prefix) {
  if (prefix.empty()) return std::nullopt;
  return Encoders{encoders.image.prefixed(prefix), encoders.audio.prefixed(prefix)};
}

}  // namespace

Localizer::Localizer(const encoders::ModelConfig& config, std::optional<uint64_t> seed, at::Device device)
    : config_(config),
      device_(device),
      method_(methods::make(config)),
      encoders_{encoders::Encoder::image(config, method_->heads()), encoders::Encoder::audio(config, method_->heads())},
      copies_(copied(encoders_, method_->copies())) {
  const at::NoGradGuard no_grad;
  std::optional<at::Generator> generator;
  if (seed) generator = at::make_generator<at::CPUGeneratorImpl>(*seed);
  core::Initializer initializer(parameters_, std::move(generator), device);
  encoders_.image.initialize(initializer);
  encoders_.audio.initialize(initializer);
  if (copies_) {
    std::vector<std::string> names;
    for (const core::Parameter& parameter : parameters_.all()) names.push_back(parameter.name);
    for (const std::string& name : names) initializer.copy(method_->copies(), name);
  }
  method_->initialize(initializer);
  for (const core::Parameter& parameter : parameters_.all()) {
    if (parameter.trainable && method_->kind(parameter.name) != ParameterKind::kTrained) {
      parameters_.exclude_from_training(parameter.name);
    }
  }
}

void Localizer::begin_copies() {
  const at::NoGradGuard no_grad;
  const std::string prefix = method_->copies();
  if (prefix.empty()) return;
  for (const core::Parameter& parameter : parameters_.all()) {
    if (!parameters_.has(prefix + parameter.name)) continue;
    Tensor copy = parameters_[prefix + parameter.name];
    copy.copy_(parameter.value.detach());
  }
}

core::Parameters Localizer::whole_parameters() const {
  core::Parameters whole = parameters_;
  if (!quantization_) return whole;
  for (const auto& [name, convolution] : *quantization_) {
    const std::string weight = name + ".weight";
    if (whole.freed(weight)) whole.assign(weight, core::dequantized(convolution.weight()));
  }
  return whole;
}

void Localizer::quantize(core::Quantization quantization) {
  for (const auto& [name, convolution] : quantization) {
    const std::string weight = name + ".weight";
    if (device_.is_cpu()) {
      parameters_.free(weight);
    } else {
      parameters_.assign(weight, core::dequantized(convolution.weight()));
    }
  }
  quantization_ = std::move(quantization);
}

void Localizer::end_quantization() {
  if (!quantization_) return;
  parameters_ = whole_parameters();
  quantization_.reset();
}

std::vector<encoders::UnusedTensor> Localizer::unused() const {
  std::vector<encoders::UnusedTensor> all;
  const auto add = [&](const std::vector<encoders::UnusedTensor>& some) {
    all.insert(all.end(), some.begin(), some.end());
  };
  add(encoders_.image.unused());
  add(encoders_.audio.unused());
  add(method_->unused());
  return all;
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
  const Encoders& own = inference_encoders();
  const core::Parameters parameters = whole_parameters();
  if (images.defined()) tokens.image = own.image.forward(parameters, images);
  if (spectrograms.defined()) tokens.audio = own.audio.forward(parameters, spectrograms);
  return tokens;
}

Tensor Localizer::objectness(const Tensor& images) const {
  const at::NoGradGuard no_grad;
  return encoders_.image.trunk(parameters_, images).abs().mean(1).contiguous();
}

}  // namespace soundspot::methods
