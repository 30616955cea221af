#include "losses/false_negatives.h"

#include <algorithm>

namespace soundspot::losses {

namespace {

Tensor reciprocal_neighbours(const Tensor& similarity, int64_t k) {
  const Tensor nearest = std::get<1>(similarity.topk(k, 1));
  const Tensor among = at::zeros(similarity.sizes(), similarity.options().dtype(at::kBool)).scatter_(1, nearest, true);
  return among.logical_and(among.t());
}

}  // namespace

Tensor false_negatives(const Tensor& image_similarity, const Tensor& audio_similarity, int64_t k) {
  const at::NoGradGuard no_grad;
  k = std::min(k, image_similarity.size(0));
  Tensor excluded = reciprocal_neighbours(image_similarity, k).logical_and(reciprocal_neighbours(audio_similarity, k));
  return excluded.fill_diagonal_(false);
}

}  // namespace soundspot::losses
