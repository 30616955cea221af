// The GPU's fused functions on tensors. They are compiled where SOUNDSPOT_CUDA is defined; the reference
// implementations that they replace are beside the callers.
#pragma once

#include "kernels/linear.h"
#include "kernels/normalization.h"

namespace soundspot::kernels::cuda {

/// As kernels::batch_norm. With `fixed` by the running statistics, which stay, and with their gradients.
Tensor batch_norm(const Tensor& x, const BatchNorm& norm, const Tensor& residual, bool relu, bool fixed = false);

struct SlotAttentionWeights {
  Linear query, key, value, input_gates, hidden_gates, first, second, slot_norm, mlp_norm;
};

struct SlotAttentionResult {
  Tensor slots;      // [B, S, D], after the last iteration
  Tensor queries;    // [B, S, D], of the last iteration
  Tensor attention;  // [B, S, N], of the last iteration
};

/// Weights joined where associativity allows, for the one launch of few samples. They cost more than the launch: who
/// calls often with the same weights keeps them.
struct JoinedSlotWeights {
  Linear query;   // W_kᵀ W_q γ, and as the last row what makes the product of q and b_k: [D + 1, D]
  Linear hidden;  // W_hh
  Linear input;   // W_ih W_v
  Linear first;   // of the MLP, with its norm
  Linear second;
};

/// On any device, without gradients.
JoinedSlotWeights join(const SlotAttentionWeights& weights);

/// As slot_attention::fused_iterations; `tokens` [B, N, D] after their layer norm are float32 or bfloat16, all else is
/// float32. Up to eight samples are computed in one launch, by `joined` where it is not null.
SlotAttentionResult slot_attention(const Tensor& tokens, const Tensor& initial, const SlotAttentionWeights& weights,
                                   int64_t iterations, bool bfloat16, const JoinedSlotWeights* joined = nullptr);

/// As slot_attention::fused_cross_attention; `tokens` [B, N, D] after their layer norm are float32 or bfloat16.
/// `sharpening` multiplies the logits.
Tensor cross_attention(const Tensor& queries, const Tensor& tokens, const Linear& key, bool bfloat16,
                       double sharpening = 1);

/// The loss matching of the first `targets` slots, of attentions [B, S, N] in float32; an attention of one's own
/// queries gets no gradient.
Tensor matching(const Tensor& audio_on_image, const Tensor& image_on_image, const Tensor& image_on_audio,
                const Tensor& audio_on_audio, int64_t targets);

/// How maps are enlarged: by Keys' bicubic with a = −0.75 or bilinearly, with `align_corners` or without.
struct MapResize {
  bool bicubic = true, corners = false;
};

struct Heatmap {
  Tensor map;   // [B, height, width], float32
  Tensor mask;  // 1 where the map is at or above the threshold, uint8; undefined without one
};

/// As localization::heatmap, of target rows [B, T, side · side].
Heatmap heatmap(const Tensor& target_rows, int64_t side, int64_t height, int64_t width, const MapResize& resize,
                const std::optional<std::pair<double, double>>& range, const std::optional<double>& threshold);

/// On the device of the gradients.
struct GradientNorm {
  Tensor norm;     // of all gradients, [1] float64
  Tensor divisor;  // what clipping divides the gradients by, 1 or more, [] float32
  Tensor finite;   // whether the norm and the losses are finite, [] bool
};

/// The norm over dense float32 gradients, summed in double in an order that depends on their sizes alone. `clip` is the
/// greatest norm that an update sees, 0 for any. `losses` is undefined, or one float32 that is finite where the losses
/// are, such as their sum.
GradientNorm gradient_norm(const std::vector<Tensor>& gradients, double clip, const Tensor& losses);

/// Of each parameter in one order; all tensors but `steps`, of one number, have the
/// parameter's order of elements.
struct AdamState {
  std::vector<Tensor> values, gradients, means, squares, steps;
};

struct AdamNumbers {
  double beta1, beta2, epsilon, weight_decay;
  bool coupled;  // decay is a part of the gradient (Adam with L2 decay), not of the step (AdamW)
};

/// One step with the gradients over `divisor`, [] float32 or undefined, where `taken`, [] bool or undefined for yes, is
/// true; else nothing changes, the counts of steps neither. `learning_rate` is one float32 on the device. Nothing is
/// read from the device.
void adam_step(const AdamState& state, const AdamNumbers& numbers, const Tensor& learning_rate, const Tensor& taken,
               const Tensor& divisor);

}  // namespace soundspot::kernels::cuda
