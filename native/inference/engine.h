// A model made ready for evaluation passes in one precision. It holds copies of the weights in the order in which they
// are read, and stays as it is when the model is trained on.
#pragma once

#include "inference/cpu/encoder.h"
#include "methods/localizer.h"
#include "slot_attention/inference_cpu.h"

namespace soundspot::inference {

class Engine {
 public:
  Engine(const model::Localizer& localizer, bool bfloat16);

  /// As model::Localizer::infer, without keys.
  model::Outputs infer(const Tensor& images, const Tensor& spectrograms, double sharpening) const;

 private:
  const model::ModelConfig config_;
  const FrozenEncoder image_encoder_, audio_encoder_;
  std::optional<FrozenSlotAttention> slot_attention_;
};

}  // namespace soundspot::inference
