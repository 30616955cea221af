// The tri-map contrast of LVS (Chen et al., "Localizing visual sounds the hard way", CVPR 2021): soft masks part an
// image into where its audio is, where it is not, and what is ignored between them.
#include "losses/token_similarity.h"
#include "losses/tri_map.h"

namespace soundspot::losses {
namespace {

constexpr double kPositive = 0.65;     // ε: cosines above it are where the audio is
constexpr double kNegative = 0.4;      // ε₂: cosines below it are background
constexpr double kSoftness = 0.03;     // τ of both sigmoids
constexpr double kDiagonal = 1 - 100;  // what the published code multiplies a pair's own similarity by

/// Mean of `values` over tokens, weighted by `weights`; both [B, N, …].
Tensor weighted_mean(const Tensor& weights, const Tensor& values) { return (weights * values).sum(1) / weights.sum(1); }

}  // namespace

Tensor tri_map(const LossInputs& inputs, const char* image_tokens, const char* audio_tokens) {
  const Tensor &image = inputs.features[image_tokens], audio = audio_vector(inputs.features[audio_tokens]);
  const Tensor own = own_similarity(image, audio);                           // [b, N]
  const Tensor positive = at::sigmoid((own - kPositive) / kSoftness);        // [b, N]
  const Tensor background = 1 - at::sigmoid((own - kNegative) / kSoftness);  // [b, N]
  const Tensor pairs = token_similarity(image, inputs.whole(audio));         // [b, N, B]
  const Tensor among = at::sigmoid((pairs - kPositive) / kSoftness);         // [b, N, B]
  Tensor easy = inputs.whole(weighted_mean(among, pairs));                   // [B, B], rows images
  easy = easy * (1 + (kDiagonal - 1) * at::eye(easy.size(0), easy.options()));
  const auto column = [&](const Tensor& weights) { return inputs.whole(weighted_mean(weights, own)).unsqueeze(1); };
  const Tensor logits = at::cat({column(positive), easy, column(background)}, 1) / inputs.temperature;  // [B, B + 2]
  return at::cross_entropy_loss(logits, at::zeros({logits.size(0)}, logits.options().dtype(at::kLong)));
}

namespace {

const Register registered{"triMap", {"image_tokens", "audio_tokens"}, [](const LossInputs& inputs) {
                            return tri_map(inputs, "image_tokens", "audio_tokens");
                          }};

}  // namespace
}  // namespace soundspot::losses
