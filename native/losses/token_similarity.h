// The cosine of image tokens with the audio, for methods without slots (such as EZ-VSL).
#pragma once

#include "core/torch.h"

namespace soundspot::losses {

/// Vectors along the last dimension, each divided by its length.
Tensor unit(const Tensor& vectors);

/// A clip's audio as a vector of length 1, the maximum of its tokens [B, T, D] over time: [B, D].
Tensor audio_vector(const Tensor& audio_tokens);

/// Cosine of each image's tokens [Bi, N, D] with each audio vector [Ba, D]: [Bi, N, Ba].
Tensor token_similarity(const Tensor& image_tokens, const Tensor& audio);

/// Cosine of each token [B, N, D] with the audio vector [B, D] of its own pair: [B, N].
Tensor own_similarity(const Tensor& image_tokens, const Tensor& audio);

}  // namespace soundspot::losses
