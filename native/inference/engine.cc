#include "inference/engine.h"

namespace soundspot::inference {

Inference Engine::infer(const Tensor& images, const Tensor& spectrograms,
                        const methods::RespondOptions& options) const {
  methods::check_shapes(localizer_->config(), images, spectrograms);
  const at::NoGradGuard no_grad;
  Inference result;
  result.tokens = encode(images.to(compute_.device), spectrograms.to(compute_.device));
  result.response = responder_->respond(result.tokens, options);
  return result;
}

Tensor Engine::embed(encoders::Modality modality, const Tensor& input) const {
  const at::NoGradGuard no_grad;
  const bool image = modality == encoders::Modality::kImage;
  const Tensor own = input.to(compute_.device);
  const encoders::EncoderOutputs tokens = encode(image ? own : Tensor(), image ? Tensor() : own);
  return responder_->embed(modality, image ? tokens.image : tokens.audio);
}

std::unique_ptr<const Engine> make_engine(std::shared_ptr<const methods::Localizer> localizer,
                                          const core::Compute& compute) {
  return compute.on_cpu() ? cpu_engine(std::move(localizer), compute) : reference_engine(std::move(localizer), compute);
}

}  // namespace soundspot::inference
