// Joint slot attention (JSA): the paper's method. Masking, false negatives and the statistics of the attention are its
// own; see docs/method.md, "Joint slot attention" and "Losses".
#include <algorithm>
#include <cmath>

#include "core/autocast.h"
#include "core/bounds.h"
#include "kernels/device.h"
#include "losses/false_negatives.h"
#include "methods/method.h"
#include "slot_attention/decoder.h"
#include "slot_attention/inference_cpu.h"
#include "slot_attention/inference_device.h"

namespace soundspot::methods {
namespace {

using slot_attention::JointAttention;
using slot_attention::SlotAttentionConfig;

constexpr char kName[] = "joint-slot-attention";

const std::vector<std::string> kOffered{
    "image_tokens",   "audio_tokens",   "image_slots",          "audio_slots",         "image_queries",
    "audio_queries",  "image_keys",     "audio_keys",           "image_on_image",      "audio_on_image",
    "audio_on_audio", "image_on_audio", "image_reconstruction", "audio_reconstruction"};

/// How selective the target rows [B, T, N] are: their entropy over tokens, divided by log N (1 is uniform), and their
/// standard deviation over tokens times N (0 is uniform).
std::array<Tensor, 2> selectivity(const Tensor& attention, int64_t targets) {
  const at::NoGradGuard no_grad;
  const Tensor rows = attention.narrow(1, 0, targets);
  const auto tokens = static_cast<double>(rows.size(2));
  return {-(rows * rows.log()).sum(2).mean() / std::log(tokens), rows.std(2, /*unbiased=*/false).mean() * tokens};
}

Response response(JointAttention attention, int64_t targets) {
  Response result;
  result.audio_maps = attention.audio_on_image.narrow(1, 0, targets);
  result.image_maps = attention.image_on_image.narrow(1, 0, targets);
  result.image_embedding = losses::target_vectors(attention.image_slots, targets);
  result.audio_embedding = losses::target_vectors(attention.audio_slots, targets);
  result.joint = std::move(attention);
  return result;
}

class Frozen final : public Responder {
 public:
  Frozen(const Parameters& parameters, const SlotAttentionConfig& config, bool bfloat16)
      : targets_(config.target_slots), slot_attention_(parameters, config, bfloat16) {}

  Response respond(const EncoderOutputs& tokens, const RespondOptions& options) const override {
    JointAttention attention = slot_attention_.forward(tokens.image, tokens.audio, options.sharpening);
    core::check_activations(attention.image_slots, "the slot attention");
    core::check_activations(attention.audio_slots, "the slot attention");
    return response(std::move(attention), targets_);
  }

  Tensor embed(Modality modality, const Tensor& tokens) const override {
    const Tensor slots = slot_attention_.slots(modality, tokens);
    core::check_activations(slots, "the slot attention");
    return losses::target_vectors(slots, targets_);
  }

 private:
  const int64_t targets_;
  const slot_attention::FrozenSlotAttention slot_attention_;
};

class OnDevice final : public Responder {
 public:
  OnDevice(const Parameters& parameters, const SlotAttentionConfig& config, const kernels::DeviceKernels& kernels)
      : targets_(config.target_slots), slot_attention_(parameters, config, kernels) {}

  Response respond(const EncoderOutputs& tokens, const RespondOptions& options) const override {
    return response(slot_attention_.forward(tokens.image, tokens.audio, options.sharpening), targets_);
  }

  Tensor embed(Modality modality, const Tensor& tokens) const override {
    return losses::target_vectors(slot_attention_.slots(modality, tokens), targets_);
  }

 private:
  const int64_t targets_;
  const slot_attention::DeviceSlotAttention slot_attention_;
};

class JointSlotAttentionMethod final : public Method {
 public:
  explicit JointSlotAttentionMethod(const SlotAttentionConfig& config)
      : config_(config),
        slot_attention_(config),
        image_decoder_(slot_attention::Decoder::image(config)),
        audio_decoder_(slot_attention::Decoder::audio(config)) {}

  int64_t targets() const override { return config_.target_slots; }

  void initialize(core::Initializer& initializer) const override {
    slot_attention_.initialize(initializer);
    image_decoder_.initialize(initializer);
    audio_decoder_.initialize(initializer);
  }

  Features features(const Views& views, const StepContext& context) const override {
    const std::vector<std::string> names = needed(context.losses, kName, kOffered);
    const auto any = [&](const char* end) {
      return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return name.ends_with(end); });
    };
    const bool keys = any("_keys"), reconstruction = any("_reconstruction");
    const bool attention =
        !std::all_of(names.begin(), names.end(), [](const std::string& name) { return name.ends_with("_tokens"); });

    const EncoderOutputs tokens = context.encode(views.pairs.images, views.pairs.spectrograms);
    Features result;
    result.add("image_tokens", tokens.image);
    result.add("audio_tokens", tokens.audio);
    if (!attention) return result;

    const Parameters& parameters = context.parameters;
    const double probability = context.masking ? config_.mask_probability : 0.0;
    const auto masked = [&](Modality modality, const Tensor& whole) {
      return slot_attention_.mask(parameters, modality, whole, probability, context.draws, context.share);
    };
    const Tensor image = masked(Modality::kImage, tokens.image), audio = masked(Modality::kAudio, tokens.audio);
    const JointAttention joint = context.plain || !kernels::fused_on(context.compute.device)
                                     ? slot_attention_.forward(parameters, image, audio, 1.0)
                                     : slot_attention_.fused(parameters, image, audio, keys);
    result.add("image_slots", joint.image_slots);
    result.add("audio_slots", joint.audio_slots);
    result.add("image_queries", joint.image_queries);
    result.add("audio_queries", joint.audio_queries);
    if (keys) {
      result.add("image_keys", joint.image_keys);
      result.add("audio_keys", joint.audio_keys);
    }
    result.add("image_on_image", joint.image_on_image);
    result.add("audio_on_image", joint.audio_on_image);
    result.add("audio_on_audio", joint.audio_on_audio);
    result.add("image_on_audio", joint.image_on_audio);
    if (reconstruction) {
      const core::Autocast autocast(context.compute);
      result.add("image_reconstruction", image_decoder_.forward(parameters, joint.image_slots));
      result.add("audio_reconstruction", audio_decoder_.forward(parameters, joint.audio_slots));
    }
    return result;
  }

  Terms losses(const Features& features, const StepContext& context) const override {
    const bool attention = features.has("image_slots");
    Tensor excluded;
    if (attention && context.false_negative_k > 0) excluded = false_negatives(features, context);
    Terms terms = registered(features, context, excluded);
    if (!attention) return terms;
    terms.diagnostics.emplace_back("falseNegatives", excluded.defined()
                                                         ? excluded.sum().to(at::kFloat)
                                                         : at::zeros({}, features["image_slots"].options()).detach());
    const auto add = [&](const std::string& name, const Tensor& own) {
      const auto [entropy, spread] = selectivity(own, targets());
      terms.diagnostics.emplace_back(name + "Entropy", entropy);
      terms.diagnostics.emplace_back(name + "Spread", spread);
    };
    add("imageAttention", features["image_on_image"]);
    add("audioAttention", features["audio_on_audio"]);
    return terms;
  }

  Response respond(const Parameters& parameters, const EncoderOutputs& tokens,
                   const RespondOptions& options) const override {
    return response(slot_attention_.forward(parameters, tokens.image, tokens.audio, options.sharpening), targets());
  }

  Tensor embed(const Parameters& parameters, Modality modality, const Tensor& tokens) const override {
    return losses::target_vectors(slot_attention_.slots(parameters, modality, tokens), targets());
  }

  std::unique_ptr<Responder> freeze(const Parameters& parameters, const core::Compute& compute) const override {
    if (compute.on_cpu()) return std::make_unique<Frozen>(parameters, config_, compute.bfloat16());
    const auto* const kernels = kernels::kernels_of(compute.device);
    if (kernels == nullptr) return unfrozen(parameters);
    return std::make_unique<OnDevice>(parameters, config_, *kernels);
  }

 private:
  /// [B, B] over the batch of all processes: reciprocal neighbours in both modalities (docs/method.md, "Losses").
  Tensor false_negatives(const Features& features, const StepContext& context) const {
    const at::NoGradGuard no_grad;
    const auto similarity = [&](const char* slots) {
      const Tensor vectors = distributed::gathered(losses::target_vectors(features[slots], targets()), context.peers);
      return losses::target_similarity(vectors, vectors, targets());
    };
    return losses::false_negatives(similarity("image_slots"), similarity("audio_slots"), context.false_negative_k);
  }

  const SlotAttentionConfig config_;
  const slot_attention::JointSlotAttention slot_attention_;
  const slot_attention::Decoder image_decoder_, audio_decoder_;
};

const Register registered_method{kName, [](const encoders::ModelConfig& config) -> std::unique_ptr<Method> {
                                   return std::make_unique<JointSlotAttentionMethod>(SlotAttentionConfig::of(config));
                                 }};

}  // namespace
}  // namespace soundspot::methods
