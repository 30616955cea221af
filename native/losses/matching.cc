// Cross-modal attention matching: each modality's queries are to attend in the other as the other attends to itself.
#include "losses/loss.h"

namespace soundspot::losses {
namespace {

Tensor matching(const LossInputs& inputs) {
  const auto& attention = inputs.outputs.attention;
  const auto target = [&](const Tensor& maps) { return maps.narrow(1, 0, inputs.config.target_slots); };
  return at::mse_loss(target(attention.audio_on_image), target(attention.image_on_image).detach()) +
         at::mse_loss(target(attention.image_on_audio), target(attention.audio_on_audio).detach());
}

const Register registered{"matching", {}, matching};

}  // namespace
}  // namespace soundspot::losses
