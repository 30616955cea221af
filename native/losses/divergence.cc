// Slot divergence: different slots of one sample are pushed apart, mean of relu(cosine) over ordered pairs.
#include "losses/loss.h"

namespace soundspot::losses {
namespace {

Tensor pairwise(const Tensor& slots) {
  const int64_t count = slots.size(1);
  const Tensor normed = slots / slots.norm(2, {2}, /*keepdim=*/true).clamp_min(1e-12);
  const Tensor similarity = at::relu(at::matmul(normed, normed.transpose(1, 2)));  // [B, S, S]
  const Tensor different = at::ones({count, count}, similarity.options()) - at::eye(count, similarity.options());
  return (similarity * different).sum() / static_cast<double>(slots.size(0) * count * (count - 1));
}

Tensor divergence(const LossInputs& inputs) {
  const Tensor &image = inputs.features["image_slots"], &audio = inputs.features["audio_slots"];
  if (image.size(1) < 2) return image.sum() * 0;
  return pairwise(image) + pairwise(audio);
}

const Register registered{"divergence", {"image_slots", "audio_slots"}, divergence};

}  // namespace
}  // namespace soundspot::losses
