// Reconstruction of the encoders' tokens, before masking and layer norm, from the slots.
#include "losses/loss.h"

namespace soundspot::losses {
namespace {

Tensor reconstruction(const LossInputs& inputs) {
  const Features& features = inputs.features;
  return at::mse_loss(features["image_reconstruction"], features["image_tokens"].detach()) +
         at::mse_loss(features["audio_reconstruction"], features["audio_tokens"].detach());
}

const Register registered{
    "reconstruction", {"image_reconstruction", "audio_reconstruction", "image_tokens", "audio_tokens"}, reconstruction};

}  // namespace
}  // namespace soundspot::losses
