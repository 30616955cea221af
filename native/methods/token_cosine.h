// The base of methods that compare an image's tokens with audio by their cosine, without slots.
#pragma once

#include "losses/token_similarity.h"
#include "methods/method.h"

namespace soundspot::methods {

/// A map in (0, 1/N] of cosines [B, N] in [−1, 1]: (1 + cos) / 2N. A map that is constant reaches no threshold.
Tensor cosine_map(const Tensor& cosine);

/// The range of that map over N tokens, whatever the sample.
std::pair<double, double> cosine_range(int64_t tokens);

/// Features `image_tokens` and `audio_tokens`; the map is the cosine of each token with the audio's vector, the
/// greatest of each feature over its tokens. Embeddings are the mean of the tokens' directions, and that vector.
class TokenCosine : public Method {
 public:
  /// `name` for messages.
  explicit TokenCosine(std::string name) : name_(std::move(name)) {}

  Features features(const Views& views, const StepContext& context) const override;
  Terms losses(const Features& features, const StepContext& context) const override;
  Response respond(const Parameters& parameters, const EncoderOutputs& tokens,
                   const RespondOptions& options) const override;
  Tensor embed(const Parameters& parameters, Modality modality, const Tensor& tokens) const override;

 protected:
  const std::string& name() const { return name_; }

 private:
  const std::string name_;
};

}  // namespace soundspot::methods
