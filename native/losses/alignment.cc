// The two terms of Alignment (Senocak et al., "Sound source localization is all about cross-modal alignment", ICCV
// 2023): contrast over several views of a pair, of its nearest token and of its pooled, projected features. The sum is
// over the six pairs of a view of the image (own, neighbour's, augmented) with a view of the audio (own, augmented).
#include "kernels/products.h"
#include "losses/loss.h"
#include "losses/token_similarity.h"

namespace soundspot::losses {
namespace {

const std::vector<std::string> kImages{"", "_neighbour", "_augmented"}, kAudio{"", "_augmented"};

/// Sum over the pairs of views of ½ (CE(S/τ) + CE(Sᵀ/τ)); `similarity` gives S [B, B], rows images, of two suffixes.
Tensor over_views(double temperature, const std::function<Tensor(const std::string&, const std::string&)>& similarity) {
  Tensor sum;
  for (const std::string& image : kImages) {
    for (const std::string& audio : kAudio) {
      const Tensor term = symmetric_cross_entropy(similarity(image, audio), temperature, {}) / 2;
      sum = sum.defined() ? sum + term : term;
    }
  }
  return sum;
}

/// As maxSimilarity: an image is as near to audio as its nearest token.
Tensor view_localization(const LossInputs& inputs) {
  return over_views(inputs.temperature, [&](const std::string& image, const std::string& audio) {
    const Tensor others = inputs.whole(audio_vector(inputs.features["audio_tokens" + audio]));
    return inputs.whole(at::amax(token_similarity(inputs.features["image_tokens" + image], others), 1));
  });
}

/// The cosine of the projected features, [B, D] each.
Tensor view_alignment(const LossInputs& inputs) {
  return over_views(inputs.temperature, [&](const std::string& image, const std::string& audio) {
    return kernels::matmul(inputs.whole(unit(inputs.features["image_vectors" + image].flatten(1))),
                           inputs.whole(unit(inputs.features["audio_vectors" + audio].flatten(1))).t());
  });
}

std::vector<std::string> named(const char* image, const char* audio) {
  std::vector<std::string> names;
  for (const std::string& view : kImages) names.push_back(image + view);
  for (const std::string& view : kAudio) names.push_back(audio + view);
  return names;
}

const Register first{"viewLocalization", named("image_tokens", "audio_tokens"), view_localization};
const Register second{"viewAlignment", named("image_vectors", "audio_vectors"), view_alignment};

}  // namespace
}  // namespace soundspot::losses
