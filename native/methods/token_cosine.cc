#include "methods/token_cosine.h"

namespace soundspot::methods {

Tensor cosine_map(const Tensor& cosine) { return (1 + cosine) / (2.0 * static_cast<double>(cosine.size(-1))); }

std::pair<double, double> cosine_range(int64_t tokens) { return {0.0, 1.0 / static_cast<double>(tokens)}; }

Features TokenCosine::features(const Views& views, const StepContext& context) const {
  needed(context.losses, name_, {"image_tokens", "audio_tokens"});
  const EncoderOutputs tokens = context.encode(views.pairs.images, views.pairs.spectrograms);
  Features result;
  result.add("image_tokens", tokens.image);
  result.add("audio_tokens", tokens.audio);
  return result;
}

Terms TokenCosine::losses(const Features& features, const StepContext& context) const {
  return registered(features, context, {});
}

Response TokenCosine::respond(const Parameters& parameters, const EncoderOutputs& tokens, const RespondOptions&) const {
  Response result;
  result.image_embedding = embed(parameters, Modality::kImage, tokens.image);
  result.audio_embedding = embed(parameters, Modality::kAudio, tokens.audio);
  result.audio_maps = cosine_map(losses::own_similarity(tokens.image, result.audio_embedding)).unsqueeze(1);
  result.range = cosine_range(tokens.image.size(1));
  return result;
}

Tensor TokenCosine::embed(const Parameters&, Modality modality, const Tensor& tokens) const {
  return modality == Modality::kImage ? losses::unit(losses::unit(tokens).mean(1)) : losses::audio_vector(tokens);
}

}  // namespace soundspot::methods
