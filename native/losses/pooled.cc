// Warm-up of the encoders, before slot attention: InfoNCE on the mean token of each encoder. Not in the paper.
#include "kernels/products.h"
#include "losses/loss.h"

namespace soundspot::losses {
namespace {

Tensor pooled(const LossInputs& inputs) {
  const auto unit = [](const Tensor& tokens) {
    const Tensor mean = tokens.mean(1);  // [B, D]
    return mean / mean.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
  };
  const Tensor similarity = kernels::matmul(inputs.whole(unit(inputs.features["image_tokens"])),
                                            inputs.whole(unit(inputs.features["audio_tokens"])).t());
  return symmetric_cross_entropy(similarity, inputs.temperature, {});
}

const Register registered{"pooled", {"image_tokens", "audio_tokens"}, pooled};

}  // namespace
}  // namespace soundspot::losses
