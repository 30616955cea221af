// Alignment (Senocak et al., "Sound source localization is all about cross-modal alignment", ICCV 2023): contrast of
// the nearest token and of pooled, projected features, over several views of each pair. One view is the image of a
// nearest neighbour. The projections are for training alone.
#include <algorithm>

#include "kernels/products.h"
#include "methods/token_cosine.h"

namespace soundspot::methods {
namespace {

constexpr char kName[] = "alignment", kImage[] = "alignment.image", kAudio[] = "alignment.audio";

class Alignment final : public TokenCosine {
 public:
  explicit Alignment(const encoders::ModelConfig& config) : TokenCosine(kName), dim_(config.dim) {}

  void initialize(core::Initializer& initializer) const override {
    initializer.linear(kImage, dim_, dim_);
    initializer.linear(kAudio, dim_, dim_);
  }

  /// Published files have the encoders alone.
  bool may_be_missing(const std::string& name) const override { return name.starts_with("alignment."); }

  std::vector<std::string> views() const override { return {"neighbour", "augmented"}; }

  Features features(const Views& views, const StepContext& context) const override {
    const std::vector<std::string> names =
        needed(context.losses, kName,
               {"image_tokens", "image_tokens_neighbour", "image_tokens_augmented", "image_vectors",
                "image_vectors_neighbour", "image_vectors_augmented", "audio_tokens", "audio_tokens_augmented",
                "audio_vectors", "audio_vectors_augmented"});
    const bool several =
        std::any_of(names.begin(), names.end(), [](const std::string& name) { return name.ends_with("_augmented"); });
    Features result;
    const auto add = [&](const EncoderOutputs& tokens, const std::string& view) {
      const auto vectors = [&](const Tensor& of, const std::string& projection) {
        return kernels::linear(at::amax(of, 1), context.parameters[projection + ".weight"],
                               context.parameters[projection + ".bias"]);
      };
      result.add("image_tokens" + view, tokens.image);
      if (several) result.add("image_vectors" + view, vectors(tokens.image, kImage));
      if (!tokens.audio.defined()) return;
      result.add("audio_tokens" + view, tokens.audio);
      if (several) result.add("audio_vectors" + view, vectors(tokens.audio, kAudio));
    };
    add(context.encode(views.pairs.images, views.pairs.spectrograms), "");
    if (!several) return result;
    const View &neighbour = views.others.at("neighbour"), &augmented = views.others.at("augmented");
    add(context.encode(neighbour.images, {}, {.pass = 1}), "_neighbour");
    add(context.encode(augmented.images, augmented.spectrograms, {.pass = 2}), "_augmented");
    return result;
  }

 private:
  const int64_t dim_;
};

const Register registered_method{kName, [](const encoders::ModelConfig& config) -> std::unique_ptr<Method> {
                                   return std::make_unique<Alignment>(config);
                                 }};

}  // namespace
}  // namespace soundspot::methods
