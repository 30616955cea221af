#include "losses/token_similarity.h"

#include "kernels/products.h"

namespace soundspot::losses {

Tensor unit(const Tensor& vectors) { return vectors / vectors.norm(2, {-1}, /*keepdim=*/true).clamp_min(1e-12); }

Tensor audio_vector(const Tensor& audio_tokens) { return unit(at::amax(audio_tokens, 1)); }

Tensor token_similarity(const Tensor& image_tokens, const Tensor& audio) {
  return kernels::matmul(unit(image_tokens), audio.t());
}

Tensor own_similarity(const Tensor& image_tokens, const Tensor& audio) {
  return (unit(image_tokens) * audio.unsqueeze(1)).sum(2);
}

}  // namespace soundspot::losses
