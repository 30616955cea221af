// The iterations of slot attention of one modality as one autograd function with a backward written by hand.
// reference.cc is the plain form.
#pragma once

#include "kernels/linear.h"

namespace soundspot::slot_attention {

struct SlotAttentionWeights {
  kernels::Linear query, key, value, input_gates, hidden_gates, first, second, slot_norm, mlp_norm;
};

struct SlotAttentionResult {
  Tensor slots;      // [B, S, D], after the last iteration
  Tensor queries;    // [B, S, D], of the last iteration
  Tensor attention;  // [B, S, N], of the last iteration (Eq. 3 and the normalisation of Eq. 4)
};

/// `tokens` [B, N, D] after their layer norm, `initial` slots [S, D]; float32. Keys and values are never made:
/// q·(W_k x + b_k) = (W_kᵀ q)·x + q·b_k, and Σ Â (W_v x + b_v) = W_v Σ Â x + b_v since Â sums to 1. The products of
/// the first iteration have S rows, not B·S, since all samples start alike. With `bfloat16` matrix products are in
/// bfloat16, all else stays float32.
SlotAttentionResult fused_iterations(const Tensor& tokens, const Tensor& initial, const SlotAttentionWeights& weights,
                                     int64_t iterations, bool bfloat16);

}  // namespace soundspot::slot_attention
