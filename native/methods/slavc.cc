// SLAVC (Mo and Morgado, "A closer look at weakly-supervised audio-visual source localization", NeurIPS 2022): two
// heads for each encoder, one that says which audio belongs to an image and one that says where it is, and momentum
// copies of both encoders as targets. The loss is twoHeads (native/losses/slavc.cc).
#include <algorithm>

#include "methods/token_cosine.h"

namespace soundspot::methods {
namespace {

constexpr char kName[] = "slavc";

/// The features of one head, [B, N, D].
Tensor head(const Tensor& tokens, int64_t index) { return tokens.chunk(2, /*dim=*/2)[static_cast<size_t>(index)]; }

class Slavc final : public Method {
 public:
  explicit Slavc(const encoders::ModelConfig& config)
      : momentum_(config.method.number("momentum")), infers_by_copies_(config.method.flag("momentumEvaluation")) {}

  int64_t heads() const override { return 2; }
  std::string copies() const override { return "momentum_"; }
  bool infers_by_copies() const override { return infers_by_copies_; }

  void begin_step(StepContext& context) const override { move_copies(context.parameters, momentum_); }

  Features features(const Views& views, const StepContext& context) const override {
    const std::vector<std::string> names =
        needed(context.losses, kName,
               {"image_tokens", "audio_tokens", "image_where", "audio_where", "image_tokens_target",
                "audio_tokens_target", "image_where_target", "audio_where_target"});
    Features result;
    const auto add = [&](const EncoderOutputs& tokens, const std::string& end) {
      result.add("image_tokens" + end, head(tokens.image, 0));
      result.add("audio_tokens" + end, head(tokens.audio, 0));
      result.add("image_where" + end, head(tokens.image, 1));
      result.add("audio_where" + end, head(tokens.audio, 1));
    };
    add(context.encode(views.pairs.images, views.pairs.spectrograms), "");
    const bool targets =
        std::any_of(names.begin(), names.end(), [](const std::string& name) { return name.ends_with("_target"); });
    if (targets) {
      add(context.encode(views.pairs.images, views.pairs.spectrograms, {.copies = true, .pass = 1}), "_target");
    }
    return result;
  }

  Terms losses(const Features& features, const StepContext& context) const override {
    return registered(features, context, {});
  }

  Response respond(const Parameters& parameters, const EncoderOutputs& tokens, const RespondOptions&) const override {
    Response result;
    result.image_embedding = embed(parameters, Modality::kImage, tokens.image);
    result.audio_embedding = embed(parameters, Modality::kAudio, tokens.audio);
    const auto own = [&](int64_t index) {
      return losses::own_similarity(head(tokens.image, index), losses::audio_vector(head(tokens.audio, index)));
    };
    result.audio_maps = cosine_map((own(0) + own(1)) / 2).unsqueeze(1);
    result.range = cosine_range(tokens.image.size(1));
    return result;
  }

  /// Of the head that says which.
  Tensor embed(const Parameters&, Modality modality, const Tensor& tokens) const override {
    const Tensor which = head(tokens, 0);
    return modality == Modality::kImage ? losses::unit(losses::unit(which).mean(1)) : losses::audio_vector(which);
  }

 private:
  const double momentum_;
  const bool infers_by_copies_;
};

const Register registered_method{kName, [](const encoders::ModelConfig& config) -> std::unique_ptr<Method> {
                                   return std::make_unique<Slavc>(config);
                                 }};

}  // namespace
}  // namespace soundspot::methods
