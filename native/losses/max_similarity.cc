// Contrast without slots: an image is as near to audio as its nearest token, as EZ-VSL's multiple-instance objective
// has it. For comparisons; not in the paper.
#include "losses/loss.h"
#include "losses/token_similarity.h"

namespace soundspot::losses {
namespace {

Tensor max_similarity(const LossInputs& inputs) {
  const Tensor similarity =
      token_similarity(inputs.features["image_tokens"], inputs.whole(audio_vector(inputs.features["audio_tokens"])));
  return symmetric_cross_entropy(inputs.whole(at::amax(similarity, 1)), inputs.temperature, {});
}

const Register registered{"maxSimilarity", {"image_tokens", "audio_tokens"}, max_similarity};

}  // namespace
}  // namespace soundspot::losses
