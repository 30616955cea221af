// Nearest neighbours by cosine, for cross-modal retrieval (docs/method.md, "Inference and metrics").
#pragma once

#include "core/torch.h"

namespace soundspot::retrieval {

/// The `depth` most similar vectors of a gallery for each query, most similar first; equal cosines (in float32) rank in
/// the gallery's order, and a vector that holds NaN is never found. A zero vector has cosine 0 with all.
/// @param queries [N, D] float32  @param gallery [M, D] float32, on the same device
/// @return indices [N, depth] int64, on that device, −1 where fewer were found. Memory is N·(4096 + depth) numbers.
Tensor nearest(const Tensor& queries, const Tensor& gallery, int64_t depth);

}  // namespace soundspot::retrieval
