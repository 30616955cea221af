// Joint slot attention on image and audio tokens (Eq. 1–6) and the cross-modal attention that follows it.
#pragma once

#include "core/draws.h"
#include "core/initialize.h"
#include "kernels/device.h"
#include "slot_attention/config.h"

namespace soundspot::slot_attention {

/// Logits of the output attention before sharpening: q · k / √D. [B, S, N] each, named as the attention they give.
struct AttentionLogits {
  Tensor image_on_image, audio_on_image, audio_on_audio, image_on_audio;
};

/// The result of joint slot attention. S slots, Ni image tokens, Na audio tokens.
struct JointAttention {
  Tensor image_slots, audio_slots;      // [B, S, D], after the last iteration
  Tensor image_queries, audio_queries;  // [B, S, D], of the last iteration
  Tensor image_keys, audio_keys;        // [B, N, D]
  Tensor image_on_image;                // [B, S, Ni]: softmax over slots, then normalised over tokens
  Tensor audio_on_image;                // [B, S, Ni]: audio queries on image keys
  Tensor audio_on_audio;                // [B, S, Na]
  Tensor image_on_audio;                // [B, S, Na]: image queries on audio keys
  AttentionLogits logits;               // of the inference engine alone
};

class JointSlotAttention {
 public:
  explicit JointSlotAttention(const SlotAttentionConfig& config) : config_(config) {}

  void initialize(core::Initializer& initializer) const;

  /// Replaces each token by its modality's mask token with the configured probability.
  /// Tokens [B, N, D] are those of `share` of a batch.
  Tensor mask(const core::Parameters& parameters, encoders::Modality modality, const Tensor& tokens, double probability,
              const core::Draws& draws, const core::Share& share) const;

  /// Slots [B, S, D] of one modality alone, from its tokens [B, N, D].
  Tensor slots(const core::Parameters& parameters, encoders::Modality modality, const Tensor& tokens) const;

  /// Tokens [B, Ni, D] and [B, Na, D]. `sharpening` multiplies the logits of the output attention only,
  /// never those of the iterations.
  JointAttention forward(const core::Parameters& parameters, const Tensor& image_tokens, const Tensor& audio_tokens,
                         double sharpening) const;

  /// The same for training, at sharpening 1, by the fused kernels. Without `keys` these stay undefined.
  JointAttention fused(const core::Parameters& parameters, const Tensor& image_tokens, const Tensor& audio_tokens,
                       bool keys, bool bfloat16 = false) const;

  /// What the fused kernels take of one modality.
  static kernels::SlotAttentionWeights weights(const core::Parameters& parameters, encoders::Modality modality);
  /// [1, S, D].
  const Tensor& initial_slots(const core::Parameters& parameters, encoders::Modality modality) const;
  /// Tokens [B, N, D] after the layer norm of their modality.
  static Tensor normed_tokens(const core::Parameters& parameters, encoders::Modality modality, const Tensor& tokens);

  const SlotAttentionConfig& config() const { return config_; }

 private:
  struct Branch {
    Tensor slots, queries, keys;
  };
  Branch iterate(const core::Parameters& parameters, encoders::Modality modality, const Tensor& tokens) const;

  const SlotAttentionConfig config_;
};

}  // namespace soundspot::slot_attention
