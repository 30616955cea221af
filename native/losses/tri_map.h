// The tri-map contrast between the tokens of images and audio.
#pragma once

#include "losses/loss.h"

namespace soundspot::losses {

/// The loss of LVS on two features of the method: image tokens [B, N, D] and audio tokens [B, Na, D].
Tensor tri_map(const LossInputs& inputs, const char* image_tokens, const char* audio_tokens);

}  // namespace soundspot::losses
