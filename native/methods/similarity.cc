// Localization by the cosine of encoder tokens, without slots: a max-pooled objective in the manner of EZ-VSL.
#include "methods/token_cosine.h"

namespace soundspot::methods {
namespace {

constexpr char kName[] = "similarity";

class Similarity final : public TokenCosine {
 public:
  Similarity() : TokenCosine(kName) {}

  /// The map has the sum 1 over tokens, as attention has.
  Response respond(const Parameters& parameters, const EncoderOutputs& tokens,
                   const RespondOptions& options) const override {
    Response result = TokenCosine::respond(parameters, tokens, options);
    result.audio_maps = result.audio_maps + 1e-8;
    result.audio_maps = result.audio_maps / result.audio_maps.sum(-1, /*keepdim=*/true);
    result.range.reset();
    return result;
  }
};

const Register registered_method{
    kName, [](const encoders::ModelConfig&) -> std::unique_ptr<Method> { return std::make_unique<Similarity>(); }};

}  // namespace
}  // namespace soundspot::methods
