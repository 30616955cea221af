// The attention of one modality's queries on the other's tokens, with a backward written by hand.
// reference.cc is the plain form.
#pragma once

#include "kernels/linear.h"

namespace soundspot::slot_attention {

/// Eq. 3 and the normalisation of Eq. 4: `queries` [B, S, D] on `tokens` [B, N, D] after their layer norm, float32
/// → [B, S, N]. Keys are never made: q·(W_k x + b_k) = (W_kᵀ q)·x + q·b_k. With `bfloat16` matrix products are in
/// bfloat16, all else stays float32.
Tensor fused_cross_attention(const Tensor& queries, const Tensor& tokens, const kernels::Linear& key, bool bfloat16);

}  // namespace soundspot::slot_attention
