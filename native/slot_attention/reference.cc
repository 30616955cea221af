#include "slot_attention/reference.h"

#include <cmath>

#include "kernels/products.h"
#include "slot_attention/cross_training_cpu.h"
#include "slot_attention/training_cpu.h"

namespace soundspot::slot_attention {

namespace {

using encoders::Modality;

constexpr double kAttentionEpsilon = 1e-8;
constexpr double kLayerNormEpsilon = 1e-5;

std::string prefix_of(Modality modality) { return modality == Modality::kImage ? "slot_attn.img_" : "slot_attn.aud_"; }

Tensor linear(const core::Parameters& parameters, const std::string& name, const Tensor& input) {
  return kernels::linear(input, parameters[name + ".weight"], parameters[name + ".bias"]);
}

Tensor layer_norm(const core::Parameters& parameters, const std::string& name, const Tensor& input) {
  const Tensor& weight = parameters[name + ".weight"];
  return at::layer_norm(input, weight.sizes(), weight, parameters[name + ".bias"], kLayerNormEpsilon);
}

// Eq. 5 on rows [B·S, D]: the cell of a GRU with the gates in PyTorch's order, reset, update, new.
Tensor gru_cell(const core::Parameters& parameters, const std::string& name, const Tensor& input,
                const Tensor& hidden) {
  const auto gates = [&](const Tensor& x, const char* end) {
    return kernels::linear(x, parameters[name + ".weight_" + end], parameters[name + ".bias_" + end])
        .to(at::kFloat)
        .chunk(3, 1);
  };
  const std::vector<Tensor> of_input = gates(input, "ih"), of_hidden = gates(hidden, "hh");
  const Tensor reset = at::sigmoid(of_input[0] + of_hidden[0]), update = at::sigmoid(of_input[1] + of_hidden[1]),
               fresh = at::tanh(of_input[2] + reset * of_hidden[2]);
  return fresh + update * (hidden.to(at::kFloat) - fresh);
}

// Eq. 3 and the normalisation of Eq. 4 on logits [B, S, N].
Tensor normalised(const Tensor& logits) {
  const Tensor attention = at::softmax(logits, 1) + kAttentionEpsilon;  // slots compete for each token
  return attention / attention.sum(2, /*keepdim=*/true);
}

// Queries [B, S, D], keys [B, N, D] → [B, S, N].
Tensor attend(const Tensor& queries, const Tensor& keys, double sharpening) {
  const double scale = sharpening / std::sqrt(static_cast<double>(queries.size(2)));
  return normalised(at::matmul(queries, keys.transpose(1, 2)) * scale);
}

}  // namespace

void JointSlotAttention::initialize(core::Initializer& initializer) const {
  const int64_t dim = config_.dim;
  if (config_.shared_slots) {
    initializer.normal("slot_attn.slots", {1, config_.slots(), dim});
  } else {
    initializer.normal("slot_attn.img_slots", {1, config_.slots(), dim});
    initializer.normal("slot_attn.aud_slots", {1, config_.slots(), dim});
  }
  initializer.normal("slot_attn.mask_token_img", {1, 1, dim});
  initializer.normal("slot_attn.mask_token_aud", {1, 1, dim});
  for (const std::string modality : {"slot_attn.img_", "slot_attn.aud_"}) {
    for (const char* name : {"to_q", "to_k", "to_v"}) initializer.linear(modality + name, dim, dim);
    initializer.gru(modality + "gru", dim);
    initializer.linear(modality + "mlp.0", config_.mlp_hidden, dim);
    initializer.linear(modality + "mlp.2", dim, config_.mlp_hidden);
    for (const char* name : {"norm_input", "norm_slots", "norm_pre_ff"}) initializer.layer_norm(modality + name, dim);
  }
}

Tensor JointSlotAttention::mask(const core::Parameters& parameters, encoders::Modality modality, const Tensor& tokens,
                                double probability, const core::Draws& draws, const core::Share& share) const {
  const bool image = modality == encoders::Modality::kImage;
  const Tensor drawn = draws.uniform(image ? core::Place::kImageMask : core::Place::kAudioMask, share, tokens.size(0),
                                     tokens.size(1), tokens.device());
  return at::where((drawn < probability).unsqueeze(2),
                   parameters[image ? "slot_attn.mask_token_img" : "slot_attn.mask_token_aud"], tokens);
}

Tensor JointSlotAttention::slots(const core::Parameters& parameters, encoders::Modality modality,
                                 const Tensor& tokens) const {
  return iterate(parameters, modality, tokens).slots;
}

JointSlotAttention::Branch JointSlotAttention::iterate(const core::Parameters& parameters, Modality modality,
                                                       const Tensor& tokens) const {
  const std::string prefix = prefix_of(modality);
  const int64_t batch = tokens.size(0), slot_count = config_.slots(), dim = config_.dim;

  const Tensor normed = normed_tokens(parameters, modality, tokens);
  const Tensor keys = linear(parameters, prefix + "to_k", normed);    // Eq. 1, [B, N, D]
  const Tensor values = linear(parameters, prefix + "to_v", normed);  // Eq. 1, [B, N, D]
  Tensor slots = initial_slots(parameters, modality).expand({batch, slot_count, dim});
  Tensor queries;
  for (int64_t iteration = 0; iteration < config_.iterations; ++iteration) {
    queries = linear(parameters, prefix + "to_q", layer_norm(parameters, prefix + "norm_slots", slots));  // Eq. 2
    const Tensor updates = at::matmul(attend(queries, keys, 1.0), values);                                // Eq. 3, 4
    slots = gru_cell(parameters, prefix + "gru", updates.reshape({batch * slot_count, dim}),
                     slots.reshape({batch * slot_count, dim}))
                .view({batch, slot_count, dim});  // Eq. 5
    const Tensor hidden =
        at::relu(linear(parameters, prefix + "mlp.0", layer_norm(parameters, prefix + "norm_pre_ff", slots)));
    slots = slots + linear(parameters, prefix + "mlp.2", hidden);  // Eq. 6
  }
  return {slots, queries, keys};
}

JointAttention JointSlotAttention::forward(const core::Parameters& parameters, const Tensor& image_tokens,
                                           const Tensor& audio_tokens, double sharpening) const {
  const Branch image = iterate(parameters, Modality::kImage, image_tokens);
  const Branch audio = iterate(parameters, Modality::kAudio, audio_tokens);
  JointAttention result;
  result.image_slots = image.slots;
  result.audio_slots = audio.slots;
  result.image_queries = image.queries;
  result.audio_queries = audio.queries;
  result.image_keys = image.keys;
  result.audio_keys = audio.keys;
  result.image_on_image = attend(image.queries, image.keys, sharpening);
  result.audio_on_image = attend(audio.queries, image.keys, sharpening);
  result.audio_on_audio = attend(audio.queries, audio.keys, sharpening);
  result.image_on_audio = attend(image.queries, audio.keys, sharpening);
  return result;
}

kernels::SlotAttentionWeights JointSlotAttention::weights(const core::Parameters& parameters,
                                                          encoders::Modality modality) {
  const std::string prefix = prefix_of(modality);
  const auto of = [&](const char* name) {
    return kernels::Linear{parameters[prefix + name + ".weight"], parameters[prefix + name + ".bias"]};
  };
  const auto gates = [&](const char* end) {
    return kernels::Linear{parameters[prefix + "gru.weight_" + end], parameters[prefix + "gru.bias_" + end]};
  };
  return {.query = of("to_q"),
          .key = of("to_k"),
          .value = of("to_v"),
          .input_gates = gates("ih"),
          .hidden_gates = gates("hh"),
          .first = of("mlp.0"),
          .second = of("mlp.2"),
          .slot_norm = of("norm_slots"),
          .mlp_norm = of("norm_pre_ff")};
}

const Tensor& JointSlotAttention::initial_slots(const core::Parameters& parameters, encoders::Modality modality) const {
  return parameters[config_.shared_slots ? std::string("slot_attn.slots") : prefix_of(modality) + "slots"];
}

Tensor JointSlotAttention::normed_tokens(const core::Parameters& parameters, encoders::Modality modality,
                                         const Tensor& tokens) {
  return layer_norm(parameters, prefix_of(modality) + "norm_input", tokens);
}

JointAttention JointSlotAttention::fused(const core::Parameters& parameters, const Tensor& image_tokens,
                                         const Tensor& audio_tokens, bool keys, bool bfloat16) const {
  const auto pass = [&](Modality modality, const Tensor& tokens) {
    return fused_iterations(tokens, initial_slots(parameters, modality).squeeze(0), weights(parameters, modality),
                            config_.iterations, bfloat16);
  };
  const auto across = [&](const Tensor& queries, Modality modality, const Tensor& tokens) {
    return fused_cross_attention(queries, tokens, weights(parameters, modality).key, bfloat16);
  };
  const Tensor image = normed_tokens(parameters, Modality::kImage, image_tokens),
               audio = normed_tokens(parameters, Modality::kAudio, audio_tokens);
  const SlotAttentionResult of_image = pass(Modality::kImage, image), of_audio = pass(Modality::kAudio, audio);
  JointAttention result;
  result.image_slots = of_image.slots;
  result.audio_slots = of_audio.slots;
  result.image_queries = of_image.queries;
  result.audio_queries = of_audio.queries;
  if (keys) {
    result.image_keys = linear(parameters, "slot_attn.img_to_k", image);
    result.audio_keys = linear(parameters, "slot_attn.aud_to_k", audio);
  }
  result.image_on_image = of_image.attention;
  result.audio_on_image = across(of_audio.queries, Modality::kImage, image);
  result.audio_on_audio = of_audio.attention;
  result.image_on_audio = across(of_image.queries, Modality::kAudio, audio);
  return result;
}

}  // namespace soundspot::slot_attention
