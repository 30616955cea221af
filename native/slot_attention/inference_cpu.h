// Joint slot attention for inference: weights joined where associativity allows, and the iterations of both modalities
// in one pass over few rows. reference.cc is the plain form.
#pragma once

#include <array>

#include "kernels/cpu/kernels.h"
#include "slot_attention/reference.h"

namespace soundspot::slot_attention {

/// A linear layer packed for the kernels.
class PackedLinear {
 public:
  PackedLinear() = default;
  /// `weight` [out, in] and `bias` [out], which may be undefined, in any floating type.
  PackedLinear(const Tensor& weight, const Tensor& bias, bool bfloat16);

  const kernels::Panels& panels() const { return panels_; }
  /// Outputs, those that fill the last panel counted.
  int64_t width() const { return panels_.panels * kernels::kPanel; }

 private:
  Tensor weight_, bias_;
  kernels::Panels panels_;
};

class FrozenSlotAttention {
 public:
  /// `bfloat16` halves the weights; the arithmetic is float32 in any case.
  FrozenSlotAttention(const core::Parameters& parameters, const slot_attention::SlotAttentionConfig& config,
                      bool bfloat16);

  /// As JointSlotAttention::forward, without the keys.
  slot_attention::JointAttention forward(const Tensor& image_tokens, const Tensor& audio_tokens,
                                         double sharpening) const;

  /// Slots [B, S, D] of one modality alone, from its tokens [B, N, D].
  Tensor slots(encoders::Modality modality, const Tensor& tokens) const;

 private:
  /// The weights of one modality. x are its layer-normed tokens, n the slots normalised without weight and bias.
  struct Branch {
    Tensor norm_weight, norm_bias;  // of the tokens
    /// What q·k is up to terms that all slots share, which the softmax over slots forgets:
    /// q_s·k_n = (W_kᵀ W_q γ n_s)·x_n + (γ W_qᵀ b_k)·n_s. The second factor is the last output.
    PackedLinear own_query;
    /// The same for the queries of this modality on the tokens of the other.
    PackedLinear cross_query;
    PackedLinear query;                      // W_q with the norm of the slots in it, and its bias
    PackedLinear input_gates, hidden_gates;  // W_ih (W_v Σ Â x + b_v) + b_ih, W_hh s + b_hh
    PackedLinear first, second;              // the MLP, its norm in the first layer
    Tensor slots;                            // [S, D], the initial ones
    // Of the first iteration, which starts alike for every sample.
    Tensor initial_query, initial_hidden_gates;
  };
  struct Pass;

  Branch freeze(const core::Parameters& parameters, const std::string& own, const std::string& other) const;
  /// All iterations over both passes, of which one may be of no samples.
  void iterate(const std::array<Pass, 2>& passes) const;

  const slot_attention::SlotAttentionConfig config_;
  const bool bfloat16_;
  Branch image_, audio_;
};

}  // namespace soundspot::slot_attention
