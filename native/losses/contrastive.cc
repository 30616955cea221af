// Contrastive loss on the target slots of image and sound (Eq. 7).
#include "losses/loss.h"

namespace soundspot::losses {
namespace {

Tensor contrastive(const LossInputs& inputs) {
  const auto& attention = inputs.outputs.attention;
  const int64_t targets = inputs.config.target_slots;
  const Tensor similarity = target_similarity(inputs.whole(target_vectors(attention.image_slots, targets)),
                                              inputs.whole(target_vectors(attention.audio_slots, targets)), targets);
  return symmetric_cross_entropy(similarity, inputs.temperature, inputs.excluded);
}

const Register registered{"contrastive", {}, contrastive};

}  // namespace
}  // namespace soundspot::losses
