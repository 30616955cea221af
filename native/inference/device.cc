// The engine of devices with kernels of their own.
#include "core/autocast.h"
#include "inference/recorded.h"

namespace soundspot::inference {

namespace {

/// The model's parameters for passes without gradients: those of convolutions in the type that products take, all
/// others as they are.
core::Parameters prepared(const core::Parameters& parameters, bool bfloat16) {
  const at::NoGradGuard no_grad;
  core::Parameters own;
  for (const core::Parameter& parameter : parameters.all()) {
    const Tensor value = parameter.value.detach();
    const bool convolution = value.dim() == 4 && !parameter.unused;
    own.add(parameter.name, bfloat16 && convolution ? value.to(at::kBFloat16) : value, /*trainable=*/false);
  }
  return own;
}

class DeviceEngine final : public Engine {
 public:
  DeviceEngine(const std::shared_ptr<const methods::Localizer>& localizer, const core::Compute& compute)
      : Engine(localizer, compute),
        parameters_(prepared(localizer->parameters(), compute.bfloat16())),
        recorded_(*kernels::kernels_of(compute.device), compute.device,
                  [this](const auto&... inputs) { return computed(inputs...); }) {
    respond_by(localizer->method().freeze(localizer->parameters(), compute));
  }

 protected:
  Inference pass(const Tensor& images, const Tensor& spectrograms,
                 const methods::RespondOptions& options) const override {
    return recorded_.infer(images, spectrograms, options);
  }

  encoders::EncoderOutputs encode(const Tensor& images, const Tensor& spectrograms) const override {
    const core::Autocast autocast(compute_);
    const encoders::ForwardOptions pass{.pass = encoders::Pass::kFusedEvaluation};
    const methods::Encoders& own = localizer_->inference_encoders();
    encoders::EncoderOutputs tokens;
    if (images.defined()) tokens.image = own.image.forward(parameters_, images, pass);
    if (spectrograms.defined()) tokens.audio = own.audio.forward(parameters_, spectrograms, pass);
    return tokens;
  }

 private:
  const core::Parameters parameters_;
  mutable Recorded recorded_;
};

}  // namespace

std::unique_ptr<const Engine> device_engine(std::shared_ptr<const methods::Localizer> localizer,
                                            const core::Compute& compute) {
  return std::make_unique<const DeviceEngine>(localizer, compute);
}

}  // namespace soundspot::inference
