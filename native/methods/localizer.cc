#include "methods/localizer.h"

#include <sstream>

#include "core/autocast.h"
#include "core/error.h"
#include "methods/token_similarity.h"

namespace soundspot::model {

Localizer::Localizer(const ModelConfig& config, std::optional<uint64_t> seed, at::Device device)
    : config_(config),
      image_encoder_(Encoder::image(config)),
      audio_encoder_(Encoder::audio(config)),
      slot_attention_(config),
      image_decoder_(Decoder::image(config)),
      audio_decoder_(Decoder::audio(config)) {
  const at::NoGradGuard no_grad;
  std::optional<at::Generator> generator;
  if (seed) generator = at::make_generator<at::CPUGeneratorImpl>(*seed);
  Initializer initializer(parameters_, std::move(generator), device);
  image_encoder_.initialize(initializer);
  audio_encoder_.initialize(initializer);
  slot_attention_.initialize(initializer);
  image_decoder_.initialize(initializer);
  audio_decoder_.initialize(initializer);
}

std::vector<Tensor*> Outputs::tensors() {
  JointAttention& own = attention;
  return {&image_features,     &audio_features,     &own.image_slots,      &own.audio_slots,     &own.image_queries,
          &own.audio_queries,  &own.image_keys,     &own.audio_keys,       &own.image_on_image,  &own.audio_on_image,
          &own.audio_on_audio, &own.image_on_audio, &image_reconstruction, &audio_reconstruction};
}

void check_shapes(const ModelConfig& config, const Tensor& images, const Tensor& spectrograms) {
  const int64_t size = config.image_size;
  const bool image_ok = images.dim() == 4 && images.size(1) == 3 && images.size(2) == size && images.size(3) == size;
  const bool audio_ok = spectrograms.dim() == 4 && spectrograms.size(1) == 1 &&
                        spectrograms.size(2) == config.frequency_bins() && spectrograms.size(3) == config.frames();
  if (image_ok && audio_ok && images.size(0) == spectrograms.size(0) && images.size(0) > 0) return;
  std::ostringstream message;
  message << "This model takes pictures [B, 3, " << size << ", " << size << "] and spectrograms [B, 1, "
          << config.frequency_bins() << ", " << config.frames() << "] of one batch size; it was given "
          << images.sizes() << " and " << spectrograms.sizes() << ".";
  throw Error("ERR_SHAPE", message.str());
}

Outputs Localizer::infer(const Tensor& images, const Tensor& spectrograms, double sharpening, bool bfloat16) const {
  check_shapes(config_, images, spectrograms);
  const at::NoGradGuard no_grad;
  Outputs outputs;
  {
    const Autocast autocast(bfloat16);
    outputs.image_features = image_encoder_.forward(parameters_, images, Pass::kEvaluation);
    outputs.audio_features = audio_encoder_.forward(parameters_, spectrograms, Pass::kEvaluation);
  }
  outputs.attention =
      config_.by_similarity
          ? attention_by_similarity(config_, outputs.image_features, outputs.audio_features)
          : slot_attention_.forward(parameters_, outputs.image_features, outputs.audio_features, sharpening);
  return outputs;
}

Tensor Localizer::objectness(const Tensor& images) const {
  const at::NoGradGuard no_grad;
  return image_encoder_.trunk(parameters_, images, Pass::kEvaluation).abs().mean(1).contiguous();
}

Outputs Localizer::train(const Tensor& images, const Tensor& spectrograms, const ForwardOptions& options,
                         at::Generator generator) const {
  check_shapes(config_, images, spectrograms);
  const Pass pass = options.frozen_statistics ? Pass::kEvaluation
                    : options.plain           ? Pass::kPlainTraining
                                              : Pass::kTraining;
  Outputs outputs;
  {
    const Autocast autocast(options.bfloat16);
    outputs.image_features = image_encoder_.forward(parameters_, images, pass, options.statistics);
    outputs.audio_features = audio_encoder_.forward(parameters_, spectrograms, pass, options.statistics);
  }
  if (options.attention || options.reconstruction) {
    const double probability = options.masking ? config_.mask_probability : 0.0;
    const auto masked = [&](const char* modality, const Tensor& tokens) {
      return slot_attention_.mask(parameters_, modality, tokens, probability, options.share, generator);
    };
    const Tensor image = masked("img", outputs.image_features), audio = masked("aud", outputs.audio_features);
    outputs.attention = options.plain ? slot_attention_.forward(parameters_, image, audio, 1.0)
                                      : slot_attention_.fused(parameters_, image, audio, options.keys);
  }
  if (options.reconstruction) {
    const Autocast autocast(options.bfloat16);
    outputs.image_reconstruction = image_decoder_.forward(parameters_, outputs.attention.image_slots);
    outputs.audio_reconstruction = audio_decoder_.forward(parameters_, outputs.attention.audio_slots);
  }
  return outputs;
}

}  // namespace soundspot::model
