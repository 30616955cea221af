#include "inference/engine.h"

#include "core/error.h"
#include "core/precision.h"
#include "core/transfer.h"
#include "kernels/device.h"

namespace soundspot::inference {

Inference Engine::infer(const Tensor& images, const Tensor& spectrograms,
                        const methods::RespondOptions& options) const {
  methods::check_shapes(localizer_->config(), images, spectrograms);
  const at::NoGradGuard no_grad;
  const core::DeviceProducts products(compute_);
  return pass(core::to_device(images, compute_.device), core::to_device(spectrograms, compute_.device), options);
}

Inference Engine::computed(const Tensor& images, const Tensor& spectrograms,
                           const methods::RespondOptions& options) const {
  Inference result;
  result.tokens = encode(images, spectrograms);
  result.response = responder_->respond(result.tokens, options);
  return result;
}

Tensor Engine::embed(encoders::Modality modality, const Tensor& input) const {
  const at::NoGradGuard no_grad;
  const bool image = modality == encoders::Modality::kImage;
  const core::DeviceProducts products(compute_);
  const Tensor own = core::to_device(input, compute_.device);
  const encoders::EncoderOutputs tokens = encode(image ? own : Tensor(), image ? Tensor() : own);
  return responder_->embed(modality, image ? tokens.image : tokens.audio);
}

std::unique_ptr<const Engine> make_engine(std::shared_ptr<const methods::Localizer> localizer,
                                          const core::Compute& compute) {
  if (compute.precision == core::Precision::kInt8 && !compute.on_cpu()) {
    throw Error("ERR_DEVICE",
                "int8 is computed on the CPU alone. Load the model there (device \"cpu\"), or use another "
                "precision.");
  }
  if (compute.on_cpu()) return cpu_engine(std::move(localizer), compute);
  const bool own = kernels::kernels_of(compute.device) != nullptr;
  return own ? device_engine(std::move(localizer), compute) : reference_engine(std::move(localizer), compute);
}

}  // namespace soundspot::inference
