// Localization without slots: the cosine of every picture token with the sound. The objective that slot methods are
// compared with (EZ-VSL and its kin).
#pragma once

#include "slot_attention/reference.h"

namespace soundspot::model {

/// A sound as a vector of length 1, the maximum of its tokens [B, T, D] over time: [B, D].
Tensor sound_vector(const Tensor& audio_tokens);

/// Cosine of each picture's tokens [Bi, N, D] with each sound vector [Ba, D]: [Bi, N, Ba].
Tensor token_similarity(const Tensor& image_tokens, const Tensor& sounds);

/// The similarity in attention's clothes, so that all that follows is one: target rows grow with the cosine and sum to
/// 1 over tokens, off-target rows fall with it; the picture by itself has no map and the sound none over time, both are
/// uniform. Slots are the unit vectors of the mean picture token and of the sound, the same for each slot.
JointAttention attention_by_similarity(const ModelConfig& config, const Tensor& image_tokens,
                                       const Tensor& audio_tokens);

}  // namespace soundspot::model
