// Reconstruction of the encoders' tokens, before masking and layer norm, from the slots.
#include "losses/loss.h"

namespace soundspot::losses {
namespace {

Tensor reconstruction(const LossInputs& inputs) {
  const auto& outputs = inputs.outputs;
  return at::mse_loss(outputs.image_reconstruction, outputs.image_features.detach()) +
         at::mse_loss(outputs.audio_reconstruction, outputs.audio_features.detach());
}

const Register registered{"reconstruction", {.attention = true, .reconstruction = true}, reconstruction};

}  // namespace
}  // namespace soundspot::losses
