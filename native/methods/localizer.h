// The whole model: encoders, joint slot attention and decoders over one set of parameters.
#pragma once

#include "encoders/encoder.h"
#include "slot_attention/decoder.h"
#include "slot_attention/reference.h"

namespace soundspot::model {

/// The outputs of a forward pass.
struct Outputs {
  Tensor image_features, audio_features;              // [B, N, D], before masking
  JointAttention attention;                           // empty tensors where it was not asked for
  Tensor image_reconstruction, audio_reconstruction;  // [B, N, D], training only

  /// Every tensor above, undefined ones too.
  std::vector<Tensor*> tensors();
};

/// What a training forward computes; parts that no loss needs are left out.
struct ForwardOptions {
  bool attention = true;
  bool reconstruction = true;
  bool keys = false;  // those of the attention too
  bool masking = true;
  bool bfloat16 = false;                 // encoders and decoders in bfloat16 autocast; slot attention stays float32
  bool plain = false;                    // LibTorch's own operators in place of the fused kernels
  bool frozen_statistics = false;        // batch norm by the running statistics, which stay as they are
  distributed::PeersPointer statistics;  // whose samples the statistics of batch norm are of, too; null: of these alone
  Share share = {};
};

/// @throws Error ERR_SHAPE when pictures and spectrograms are not a batch for this configuration.
void check_shapes(const ModelConfig& config, const Tensor& images, const Tensor& spectrograms);

class Localizer {
 public:
  /// Fresh weights from a seed; without one they are to be loaded, and on the meta device only have names and shapes.
  explicit Localizer(const ModelConfig& config, std::optional<uint64_t> seed, at::Device device = at::kCPU);

  const ModelConfig& config() const { return config_; }
  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }
  const Encoder& image_encoder() const { return image_encoder_; }
  const Encoder& audio_encoder() const { return audio_encoder_; }

  /// Evaluation: no gradients, running statistics, no masking. Pictures [B, 3, size, size], spectrograms [B, 1, F, T].
  Outputs infer(const Tensor& images, const Tensor& spectrograms, double sharpening, bool bfloat16) const;

  /// Mean absolute value of the image encoder's last stage, before the projection (section 1.7): [B, h, w]. With
  /// ImageNet weights it is high where there is any object.
  Tensor objectness(const Tensor& images) const;

  /// Training forward with gradients, and masking drawn from `generator`.
  Outputs train(const Tensor& images, const Tensor& spectrograms, const ForwardOptions& options,
                at::Generator generator) const;

 private:
  const ModelConfig config_;
  const Encoder image_encoder_, audio_encoder_;
  const JointSlotAttention slot_attention_;
  const Decoder image_decoder_, audio_decoder_;
  Parameters parameters_;
};

}  // namespace soundspot::model
