// Predicted false negatives of the contrastive loss (docs/method.md, "Losses").
#pragma once

#include "core/torch.h"

namespace soundspot::losses {

/// Pairs that are among each other's k nearest neighbours (self counted) in both modalities.
/// Similarities [B, B]; the result [B, B] is bool and symmetric with a false diagonal. k is cut to B.
Tensor false_negatives(const Tensor& image_similarity, const Tensor& audio_similarity, int64_t k);

}  // namespace soundspot::losses
