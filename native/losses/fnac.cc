// The three terms of FNAC (Sun et al., "Learning audio-visual source localization via false negative aware contrastive
// learning", CVPR 2023): similarities within a modality guide those between the modalities. Each is the mean absolute
// difference of two matrices of softmaxes over rows.
#include "kernels/products.h"
#include "losses/loss.h"
#include "losses/token_similarity.h"

namespace soundspot::losses {
namespace {

constexpr double kForeground = 0.6;  // of the own map, scaled to 0 … 1 for each sample
constexpr double kScaleEpsilon = 1e-5;

/// Each sample's own similarity over tokens, [b, N].
Tensor own_map(const Tensor& tokens, const Tensor& audio, double temperature) {
  return (tokens * audio.unsqueeze(1)).sum(2) / temperature;
}

/// softmax over rows of ⟨vᵢ, vⱼ⟩/τ: [B, B].
Tensor within(const LossInputs& inputs, const Tensor& vectors) {
  const Tensor whole = inputs.whole(vectors);
  return at::softmax(kernels::matmul(whole, whole.t()) / inputs.temperature, 1);
}

/// softmax over rows of the greatest similarity of an image's tokens to each audio: [B, B].
Tensor between(const LossInputs& inputs) {
  const Tensor audio = inputs.whole(audio_vector(inputs.features["audio_tokens"]));
  const Tensor greatest = at::amax(token_similarity(inputs.features["image_tokens"], audio), 1);
  return at::softmax(inputs.whole(greatest) / inputs.temperature, 1);
}

/// FNS-1: audio that is alike suppresses false negatives.
Tensor audio_suppression(const LossInputs& inputs) {
  const Tensor audio = within(inputs, audio_vector(inputs.features["audio_tokens"]));
  return (audio - between(inputs)).abs().mean();
}

/// FNS-2: images that are alike suppress false negatives.
Tensor image_suppression(const LossInputs& inputs) {
  // The mean of the tokens' directions, not of length 1.
  const Tensor images = within(inputs, unit(inputs.features["image_tokens"]).mean(1));
  return (images - between(inputs)).abs().mean();
}

/// TNS: foregrounds are as far apart as their audio. The mask takes no gradient, the tokens do.
Tensor foreground_separation(const LossInputs& inputs) {
  const Tensor tokens = unit(inputs.features["image_tokens"]), audio = audio_vector(inputs.features["audio_tokens"]);
  const Tensor map = own_map(tokens, audio, inputs.temperature).detach();
  const Tensor least = at::amin(map, 1, /*keepdim=*/true), greatest = at::amax(map, 1, /*keepdim=*/true);
  const Tensor scaled = (map - least) / (greatest - least + kScaleEpsilon);
  const Tensor mask = (scaled > kForeground).to(tokens.scalar_type());
  const Tensor foregrounds = (mask.unsqueeze(2) * tokens).mean(1);  // over all tokens, whatever the mask's area
  return (within(inputs, audio) - within(inputs, foregrounds)).abs().mean();
}

const std::vector<std::string> kNeeds{"image_tokens", "audio_tokens"};
const Register first{"audioSuppression", kNeeds, audio_suppression};
const Register second{"imageSuppression", kNeeds, image_suppression};
const Register third{"foregroundSeparation", kNeeds, foreground_separation};

}  // namespace
}  // namespace soundspot::losses
