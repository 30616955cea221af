// Contrast without slots: a picture is as near to a sound as its nearest token, as EZ-VSL's multiple-instance objective
// has it. For comparisons; not in the paper.
#include "losses/loss.h"
#include "methods/token_similarity.h"

namespace soundspot::losses {
namespace {

Tensor max_similarity(const LossInputs& inputs) {
  const Tensor similarity = model::token_similarity(inputs.outputs.image_features,
                                                    inputs.whole(model::sound_vector(inputs.outputs.audio_features)));
  return symmetric_cross_entropy(inputs.whole(at::amax(similarity, 1)), inputs.temperature, {});
}

const Register registered{"maxSimilarity", {.attention = false, .reconstruction = false}, max_similarity};

}  // namespace
}  // namespace soundspot::losses
