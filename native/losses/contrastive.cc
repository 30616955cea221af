// Contrastive loss on the target slots of image and audio (Eq. 7).
#include "losses/loss.h"

namespace soundspot::losses {
namespace {

Tensor contrastive(const LossInputs& inputs) {
  const int64_t targets = inputs.targets;
  const auto vectors = [&](const char* slots) { return inputs.whole(target_vectors(inputs.features[slots], targets)); };
  const Tensor similarity = target_similarity(vectors("image_slots"), vectors("audio_slots"), targets);
  return symmetric_cross_entropy(similarity, inputs.temperature, inputs.excluded);
}

const Register registered{"contrastive", {"image_slots", "audio_slots"}, contrastive};

}  // namespace
}  // namespace soundspot::losses
