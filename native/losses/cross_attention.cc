// Contrast on the cross-modal attention itself: the tokens of an image must answer its own audio's target query
// against its off-target query more than other audio's. It shapes the very logits that localization reads, where
// matching alone teaches them no more than the image's own attention. A second term fixes what contrast leaves
// free, a constant added to all logits: the strongest tokens of the own audio lie at 0, where target and off-target
// attention are equal. All else lies below, where attention falls with the exponential of the logit, so that
// `inferenceSharpening` sets how narrow a spot is; above 0 attention saturates and the spot spreads. Not in the paper.
#include <algorithm>
#include <cmath>

#include "kernels/products.h"
#include "losses/loss.h"

namespace soundspot::losses {
namespace {

constexpr double kLevelWeight = 0.02;

/// Mean of the strongest 5 % of tokens, at least one: [B, N, B] → [B, B]. A maximum would ask for one token; this asks
/// for an object's worth of them.
Tensor strongest(const Tensor& logits) {
  const int64_t count = std::max<int64_t>(1, logits.size(1) / 20);
  return std::get<0>(logits.topk(count, 1)).mean(1);
}

Tensor cross_attention(const LossInputs& inputs) {
  const Tensor& queries = inputs.features["audio_queries"];  // [B, S, D]
  const int64_t targets = inputs.targets, others = queries.size(1) - targets;
  Tensor query = queries.narrow(1, 0, targets).mean(1);  // [B, D]
  if (others > 0) query = query - queries.narrow(1, targets, others).mean(1);
  const double scale = 1.0 / std::sqrt(static_cast<double>(queries.size(2)));
  // [B images, N, B audio]
  const Tensor logits = kernels::matmul(inputs.features["image_keys"], inputs.whole(query).t()) * scale;
  const Tensor answers = inputs.whole(strongest(logits));
  const Tensor level = answers.diagonal().pow(2).mean();
  return symmetric_cross_entropy(answers, inputs.temperature, inputs.excluded) + level * kLevelWeight;
}

const Register registered{"crossAttention", {"audio_queries", "image_keys"}, cross_attention};

}  // namespace
}  // namespace soundspot::losses
