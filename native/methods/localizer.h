// The whole model: two encoders and a method over one set of parameters.
#pragma once

#include "core/quantization.h"
#include "methods/method.h"

namespace soundspot::methods {

/// Both encoders.
struct Encoders {
  encoders::Encoder image, audio;
};

/// @throws Error ERR_SHAPE when images and spectrograms are not a batch for this configuration.
void check_shapes(const encoders::ModelConfig& config, const Tensor& images, const Tensor& spectrograms);

class Localizer {
 public:
  /// Fresh weights from a seed; without one they are to be loaded, and on the meta device only have names and shapes.
  explicit Localizer(const encoders::ModelConfig& config, std::optional<uint64_t> seed, at::Device device = at::kCPU);

  const encoders::ModelConfig& config() const { return config_; }
  /// Of a quantized model on the CPU the weights of quantized convolutions are freed.
  core::Parameters& parameters() { return parameters_; }
  const core::Parameters& parameters() const { return parameters_; }
  /// All of them in float32: the same tensors, and of freed ones new ones from their int8 values.
  core::Parameters whole_parameters() const;
  const Encoders& encoders() const { return encoders_; }
  /// The method's copies of them. @pre it has copies.
  const Encoders& copies() const { return *copies_; }
  /// Those that inference takes.
  const Encoders& inference_encoders() const { return method_->infers_by_copies() ? *copies_ : encoders_; }
  /// Tensors that files may have beside the parameters.
  std::vector<encoders::UnusedTensor> unused() const;
  const methods::Method& method() const { return *method_; }
  /// Of the encoders that inference takes; none before a calibration, and after a change of the weights.
  const std::optional<core::Quantization>& quantization() const { return quantization_; }
  /// The weights of these convolutions are their int8 values from now on. On the CPU float32 ones are freed; elsewhere
  /// they take the values.
  void quantize(core::Quantization quantization);
  /// Before a change of the weights: all are float32 again, and there is no quantization any more.
  void end_quantization();

  /// Where the parameters are.
  at::Device device() const { return device_; }

  /// Makes the method's copies, if any, equal to the encoders.
  void begin_copies();

  /// Evaluation: no gradients, running statistics. Images [B, 3, size, size], spectrograms [B, 1, F, T]; either may be
  /// undefined, and its tokens are then.
  encoders::EncoderOutputs encode(const Tensor& images, const Tensor& spectrograms, const core::Compute& compute) const;

  /// Mean absolute value of the image encoder's last stage, before the projection: [B, h, w]. With
  /// ImageNet weights it is high where there is any object.
  /// @pre it is not quantized.
  Tensor objectness(const Tensor& images) const;

 private:
  const encoders::ModelConfig config_;
  const at::Device device_;
  const std::unique_ptr<const methods::Method> method_;
  const Encoders encoders_;
  const std::optional<Encoders> copies_;
  core::Parameters parameters_;
  std::optional<core::Quantization> quantization_;
};

}  // namespace soundspot::methods
