#include "methods/token_similarity.h"

#include "kernels/products.h"

namespace soundspot::model {

namespace {

Tensor unit(const Tensor& vectors) { return vectors / vectors.norm(2, {-1}, /*keepdim=*/true).clamp_min(1e-12); }

}  // namespace

Tensor sound_vector(const Tensor& audio_tokens) { return unit(at::amax(audio_tokens, 1)); }

Tensor token_similarity(const Tensor& image_tokens, const Tensor& sounds) {
  return kernels::matmul(unit(image_tokens), sounds.t());
}

JointAttention attention_by_similarity(const ModelConfig& config, const Tensor& image_tokens,
                                       const Tensor& audio_tokens) {
  const int64_t batch = image_tokens.size(0), slots = config.slots();
  const auto each_slot = [&](const Tensor& vectors) {
    return vectors.unsqueeze(1).expand({batch, slots, vectors.size(1)}).contiguous();
  };
  const auto uniform = [&](const Tensor& tokens) {
    return at::full({batch, slots, tokens.size(1)}, 1.0 / static_cast<double>(tokens.size(1)), tokens.options());
  };
  const Tensor sounds = sound_vector(audio_tokens);
  const Tensor cosine = at::matmul(unit(image_tokens), sounds.unsqueeze(2)).transpose(1, 2);  // [B, 1, N]
  const Tensor rows = at::cat({(1 + cosine).expand({batch, config.target_slots, -1}),
                               (1 - cosine).expand({batch, config.off_target_slots, -1})},
                              1);
  JointAttention attention;
  attention.image_slots = attention.image_queries = each_slot(unit(unit(image_tokens).mean(1)));
  attention.audio_slots = attention.audio_queries = each_slot(sounds);
  attention.image_keys = image_tokens;
  attention.audio_keys = audio_tokens;
  attention.audio_on_image = (rows + 1e-8) / (rows + 1e-8).sum(-1, /*keepdim=*/true);
  attention.image_on_image = uniform(image_tokens);
  attention.audio_on_audio = attention.image_on_audio = uniform(audio_tokens);
  return attention;
}

}  // namespace soundspot::model
