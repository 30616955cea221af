// The engine of any device: the model's own forward pass.
#include "inference/engine.h"

namespace soundspot::inference {

namespace {

class Reference final : public Engine {
 public:
  Reference(const std::shared_ptr<const methods::Localizer>& localizer, const core::Compute& compute)
      : Engine(localizer, compute) {
    respond_by(localizer->method().unfrozen(localizer->parameters()));
  }

 protected:
  encoders::EncoderOutputs encode(const Tensor& images, const Tensor& spectrograms) const override {
    return localizer_->encode(images, spectrograms, compute_);
  }
};

}  // namespace

std::unique_ptr<const Engine> reference_engine(std::shared_ptr<const methods::Localizer> localizer,
                                               const core::Compute& compute) {
  return std::make_unique<const Reference>(localizer, compute);
}

}  // namespace soundspot::inference
