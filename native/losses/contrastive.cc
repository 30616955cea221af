// Contrastive loss on the target slots of image and sound (Eq. 7).
#include "losses/loss.h"

namespace soundspot::losses {
namespace {

Tensor contrastive(const LossInputs& inputs) {
  const auto& attention = inputs.outputs.attention;
  const Tensor similarity = target_similarity(attention.image_slots, attention.audio_slots, inputs.config.target_slots);
  return symmetric_cross_entropy(similarity, inputs.temperature, inputs.excluded);
}

const Register registered{"contrastive", {}, contrastive};

}  // namespace
}  // namespace soundspot::losses
