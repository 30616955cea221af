// Warm-up of the encoders, before slot attention: InfoNCE on the features themselves. A sound is its mean token; a
// picture answers with the tokens most similar to it, so that the similarity is local from the start. Not in the paper.
#include "losses/loss.h"

namespace soundspot::losses {
namespace {

Tensor unit(const Tensor& features) { return features / features.norm(2, {-1}, true).clamp_min(1e-12); }

Tensor pooled(const LossInputs& inputs) {
  const Tensor image = unit(inputs.outputs.image_features);          // [B, N, D]
  const Tensor sound = unit(inputs.outputs.audio_features.mean(1));  // [B, D]
  const Tensor similarity = at::matmul(image, sound.t());            // [B images, N, B sounds]
  return symmetric_cross_entropy(strongest(similarity), inputs.temperature, {});
}

const Register registered{"pooled", {.attention = false, .reconstruction = false}, pooled};

}  // namespace
}  // namespace soundspot::losses
