// A model made ready for evaluation passes on one device in one precision.
#pragma once

#include "methods/localizer.h"

namespace soundspot::inference {

/// The result of an evaluation pass for B pairs.
struct Inference {
  encoders::EncoderOutputs tokens;
  methods::Response response;
};

class Engine {
 public:
  virtual ~Engine() = default;

  /// Images [B, 3, size, size] and spectrograms [B, 1, F, T], on any device.
  /// @throws Error ERR_SHAPE when they are not a batch for the model; ERR_INTERNAL when its weights are too large to
  /// compute with.
  Inference infer(const Tensor& images, const Tensor& spectrograms, const methods::RespondOptions& options) const;

  /// Unit vectors of one modality alone, as in methods::Response: [B, T·D]. `input` as above.
  Tensor embed(encoders::Modality modality, const Tensor& input) const;

 protected:
  Engine(std::shared_ptr<const methods::Localizer> localizer, const core::Compute& compute)
      : localizer_(std::move(localizer)), compute_(compute) {}

  /// To be called once, when the encoders are ready.
  void respond_by(std::unique_ptr<const methods::Responder> responder) { responder_ = std::move(responder); }

  /// The pass of `infer`, of inputs on the device. By default `computed`.
  virtual Inference pass(const Tensor& images, const Tensor& spectrograms,
                         const methods::RespondOptions& options) const {
    return computed(images, spectrograms, options);
  }
  Inference computed(const Tensor& images, const Tensor& spectrograms, const methods::RespondOptions& options) const;

  /// Tokens [B, N, D]; either input may be undefined.
  virtual encoders::EncoderOutputs encode(const Tensor& images, const Tensor& spectrograms) const = 0;

  const std::shared_ptr<const methods::Localizer> localizer_;
  const core::Compute compute_;

 private:
  std::unique_ptr<const methods::Responder> responder_;
};

/// The fastest engine there is for the device. It looks at the model's weights or holds copies of them: it is to be
/// made anew when they change.
std::unique_ptr<const Engine> make_engine(std::shared_ptr<const methods::Localizer> localizer,
                                          const core::Compute& compute);

/// For devices with kernels of their own: batch norm by them, weights of convolutions in the precision's type, passes
/// of few samples recorded.
std::unique_ptr<const Engine> device_engine(std::shared_ptr<const methods::Localizer> localizer,
                                            const core::Compute& compute);

/// The composition of LibTorch's own operators, on any device, which the others are compared with.
std::unique_ptr<const Engine> reference_engine(std::shared_ptr<const methods::Localizer> localizer,
                                               const core::Compute& compute);

/// For the CPU: folded batch norm, convolutions by Winograd, packed weights.
std::unique_ptr<const Engine> cpu_engine(std::shared_ptr<const methods::Localizer> localizer,
                                         const core::Compute& compute);

}  // namespace soundspot::inference
