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

/// As slot_attention::fused_iterations; `tokens` [B, N, D] after their layer norm are float32 or bfloat16, all else is
/// float32.
SlotAttentionResult slot_attention(const Tensor& tokens, const Tensor& initial, const SlotAttentionWeights& weights,
                                   int64_t iterations, bool bfloat16);

}  // namespace soundspot::kernels::cuda
