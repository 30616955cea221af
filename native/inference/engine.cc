#include "inference/engine.h"

#include "inference/bounds.h"
#include "methods/token_similarity.h"

namespace soundspot::inference {

Engine::Engine(const model::Localizer& localizer, bool bfloat16)
    : config_(localizer.config()),
      image_encoder_(localizer.parameters(), localizer.image_encoder().layout(),
                     {1, 3, config_.image_size, config_.image_size}, bfloat16 ? at::kBFloat16 : at::kFloat),
      audio_encoder_(localizer.parameters(), localizer.audio_encoder().layout(),
                     {1, 1, config_.frequency_bins(), config_.frames()}, bfloat16 ? at::kBFloat16 : at::kFloat) {
  if (!config_.by_similarity) slot_attention_.emplace(localizer.parameters(), config_, bfloat16);
}

model::Outputs Engine::infer(const Tensor& images, const Tensor& spectrograms, double sharpening) const {
  model::check_shapes(config_, images, spectrograms);
  const at::NoGradGuard no_grad;
  model::Outputs outputs;
  outputs.image_features = image_encoder_.forward(images);
  outputs.audio_features = audio_encoder_.forward(spectrograms);
  outputs.attention = slot_attention_
                          ? slot_attention_->forward(outputs.image_features, outputs.audio_features, sharpening)
                          : model::attention_by_similarity(config_, outputs.image_features, outputs.audio_features);
  check_activations(outputs.attention.image_slots, "the slot attention");
  check_activations(outputs.attention.audio_slots, "the slot attention");
  return outputs;
}

}  // namespace soundspot::inference
