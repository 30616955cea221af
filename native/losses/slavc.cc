// The contrast of SLAVC (Mo and Morgado, "A closer look at weakly-supervised audio-visual source localization", NeurIPS
// 2022): one head says which audio belongs to an image, the other where it is. Each side is compared with the momentum
// copy's of the other.
#include "losses/loss.h"
#include "losses/token_similarity.h"

namespace soundspot::losses {
namespace {

/// log Σ_p softmax over audio of the first head · softmax over tokens of the second: [B, B], rows images.
Tensor evidence(const LossInputs& inputs, const char* image, const char* audio, const char* where_image,
                const char* where_audio) {
  const auto similarity = [&](const char* tokens, const char* other) {
    return token_similarity(inputs.features[tokens], inputs.whole(audio_vector(inputs.features[other]))) /
           inputs.temperature;  // [b, N, B]
  };
  const Tensor which = at::log_softmax(similarity(image, audio), 2),
               where = at::log_softmax(similarity(where_image, where_audio), 1);
  return inputs.whole(at::logsumexp(which + where, {1}));
}

Tensor two_heads(const LossInputs& inputs) {
  const Tensor of_image = evidence(inputs, "image_tokens", "audio_tokens_target", "image_where", "audio_where_target");
  const Tensor of_audio = evidence(inputs, "image_tokens_target", "audio_tokens", "image_where_target", "audio_where");
  const Tensor own = at::arange(of_image.size(0), of_image.options().dtype(at::kLong));
  // Both classify the audio of an image: the published code has no transposed direction.
  return at::cross_entropy_loss(of_audio, own) + at::cross_entropy_loss(of_image, own);
}

const Register registered{"twoHeads",
                          {"image_tokens", "audio_tokens", "image_where", "audio_where", "image_tokens_target",
                           "audio_tokens_target", "image_where_target", "audio_where_target"},
                          two_heads};

}  // namespace
}  // namespace soundspot::losses
