// The engine of the CPU: frozen encoders and the frozen method.
#include "inference/engine.h"

#include "core/error.h"
#include "inference/cpu/encoder.h"

namespace soundspot::inference {

namespace {

class CpuEngine final : public Engine {
 public:
  CpuEngine(const std::shared_ptr<const methods::Localizer>& localizer, const core::Compute& compute)
      : CpuEngine(localizer, compute, parameters(*localizer, compute)) {}

 protected:
  encoders::EncoderOutputs encode(const Tensor& images, const Tensor& spectrograms) const override {
    encoders::EncoderOutputs tokens;
    if (images.defined()) tokens.image = image_encoder_.forward(images);
    if (spectrograms.defined()) tokens.audio = audio_encoder_.forward(spectrograms);
    return tokens;
  }

 private:
  CpuEngine(const std::shared_ptr<const methods::Localizer>& localizer, const core::Compute& compute,
            const core::Parameters& parameters)
      : Engine(localizer, compute),
        image_encoder_(parameters, localizer->inference_encoders().image.layout(),
                       {1, 3, localizer->config().image_size, localizer->config().image_size}, type(compute),
                       Filtering::kFastest, quantization(*localizer, compute)),
        audio_encoder_(parameters, localizer->inference_encoders().audio.layout(),
                       {1, 1, localizer->config().frequency_bins(), localizer->config().frames()}, type(compute),
                       Filtering::kFastest, quantization(*localizer, compute)) {
    respond_by(localizer->method().freeze(localizer->parameters(), compute));
  }

  /// What the encoders are made of. They hold forms of their own, and may look at the parameters.
  static core::Parameters parameters(const methods::Localizer& localizer, const core::Compute& compute) {
    return compute.precision == core::Precision::kInt8 ? localizer.parameters() : localizer.whole_parameters();
  }

  static at::ScalarType type(const core::Compute& compute) { return compute.bfloat16() ? at::kBFloat16 : at::kFloat; }

  /// Null unless it is int8 that is computed.
  static const core::Quantization* quantization(const methods::Localizer& localizer, const core::Compute& compute) {
    if (compute.precision != core::Precision::kInt8) return nullptr;
    if (localizer.quantization()) return &*localizer.quantization();
    throw Error(
        "ERR_INPUT",
        "The model is not quantized, which int8 needs. Quantize it with samples of its data: soundspot quantize "
        "MODEL --data LIST, or quantize({ model, data }).");
  }

  const FrozenEncoder image_encoder_, audio_encoder_;
};

}  // namespace

std::unique_ptr<const Engine> cpu_engine(std::shared_ptr<const methods::Localizer> localizer,
                                         const core::Compute& compute) {
  return std::make_unique<const CpuEngine>(localizer, compute);
}

}  // namespace soundspot::inference
