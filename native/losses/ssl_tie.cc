// The terms of SSL-TIE beside the tri-map contrast of the batch (Liu et al., "Exploiting transformation invariance and
// equivariance for self-supervised sound localisation", ACM MM 2022): the same contrast of the transformed images, and
// the distance of their maps from the transformed maps.
#include "losses/tri_map.h"

namespace soundspot::losses {
namespace {

Tensor equivariance(const LossInputs& inputs) {
  return at::mse_loss(inputs.features["map_of_transformed"], inputs.features["transformed_map"]);
}

const Register first{
    "triMapTransformed", {"image_tokens_transformed", "audio_tokens_again"}, [](const LossInputs& inputs) {
      return tri_map(inputs, "image_tokens_transformed", "audio_tokens_again");
    }};
const Register second{"equivariance", {"map_of_transformed", "transformed_map"}, equivariance};

}  // namespace
}  // namespace soundspot::losses
