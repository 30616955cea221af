// The iterations of slot attention of one modality as one autograd function with a backward written by hand.
// reference.cc is the plain form.
#pragma once

#include "kernels/device.h"

namespace soundspot::slot_attention {

using kernels::SlotAttentionResult;
using kernels::SlotAttentionWeights;

/// `tokens` [B, N, D] after their layer norm, `initial` slots [S, D]; float32. Keys and values are never made:
/// q·(W_k x + b_k) = (W_kᵀ q)·x + q·b_k, and Σ Â (W_v x + b_v) = W_v Σ Â x + b_v since Â sums to 1. The products of
/// the first iteration have S rows, not B·S, since all samples start alike. With `bfloat16` matrix products are in
/// bfloat16, all else stays float32.
SlotAttentionResult fused_iterations(const Tensor& tokens, const Tensor& initial, const SlotAttentionWeights& weights,
                                     int64_t iterations, bool bfloat16);

}  // namespace soundspot::slot_attention
