// Localization by the cosine of encoder tokens, without slots: a max-pooled objective in the manner of EZ-VSL.
#include "losses/token_similarity.h"
#include "methods/method.h"

namespace soundspot::methods {
namespace {

constexpr char kName[] = "similarity";

class Similarity final : public Method {
 public:
  Features features(const Views& views, const StepContext& context) const override {
    needed(context.losses, kName, {"image_tokens", "audio_tokens"});
    const EncoderOutputs tokens = context.encode(views.images, views.spectrograms);
    Features result;
    result.add("image_tokens", tokens.image);
    result.add("audio_tokens", tokens.audio);
    return result;
  }

  Terms losses(const Features& features, const StepContext& context) const override {
    return registered(features, context, {});
  }

  Response respond(const Parameters& parameters, const EncoderOutputs& tokens, const RespondOptions&) const override {
    Response result;
    result.image_embedding = embed(parameters, Modality::kImage, tokens.image);
    result.audio_embedding = embed(parameters, Modality::kAudio, tokens.audio);
    const Tensor cosine = at::matmul(losses::unit(tokens.image), result.audio_embedding.unsqueeze(2)).transpose(1, 2);
    // Above 0 and with the sum 1 over tokens, as attention is: a map that is constant shows no source.
    const Tensor rows = 1 + cosine + 1e-8;  // [B, 1, N]
    result.audio_maps = rows / rows.sum(-1, /*keepdim=*/true);
    return result;
  }

  Tensor embed(const Parameters&, Modality modality, const Tensor& tokens) const override {
    return modality == Modality::kImage ? losses::unit(losses::unit(tokens).mean(1)) : losses::audio_vector(tokens);
  }
};

const Register registered_method{
    kName, [](const encoders::ModelConfig&) -> std::unique_ptr<Method> { return std::make_unique<Similarity>(); }};

}  // namespace
}  // namespace soundspot::methods
