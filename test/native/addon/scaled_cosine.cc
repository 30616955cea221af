// A method for tests alone: one file, with parameters, a loss and an average of its own. Its maps are cosines of scaled
// tokens.
#include "losses/token_similarity.h"
#include "methods/method.h"

namespace soundspot::methods {
namespace {

constexpr char kName[] = "scaled-cosine", kScale[] = "scaled_cosine.scale", kAverage[] = "scaled_cosine.average";

Tensor contrast(const losses::LossInputs& inputs) {
  const Tensor images = inputs.whole(inputs.features["image_vectors"]),
               audio = inputs.whole(inputs.features["audio_vectors"]);
  return losses::symmetric_cross_entropy(at::matmul(images, audio.t()), inputs.temperature, {});
}

const losses::Register registered_loss{"scaledContrast", {"image_vectors", "audio_vectors"}, contrast};

class ScaledCosine final : public Method {
 public:
  explicit ScaledCosine(const encoders::ModelConfig& config) : dim_(config.dim) {}

  void initialize(core::Initializer& initializer) const override {
    initializer.normal(kScale, {dim_});
    initializer.normal(kAverage, {dim_});
  }

  ParameterKind kind(const std::string& name) const override {
    return name == kAverage ? ParameterKind::kAverage : ParameterKind::kTrained;
  }

  /// The average of the scale over the steps.
  void begin_step(StepContext& context) const override {
    const at::NoGradGuard no_grad;
    Tensor average = context.parameters[kAverage];
    average.mul_(0.9).add_(context.parameters[kScale], 0.1);
  }

  Features features(const Views& views, const StepContext& context) const override {
    needed(context.losses, kName, {"image_vectors", "audio_vectors"});
    const EncoderOutputs tokens = context.encode(views.pairs.images, views.pairs.spectrograms);
    Features result;
    result.add("image_vectors", embed(context.parameters, Modality::kImage, tokens.image));
    result.add("audio_vectors", embed(context.parameters, Modality::kAudio, tokens.audio));
    return result;
  }

  Terms losses(const Features& features, const StepContext& context) const override {
    Terms terms = registered(features, context, {});
    terms.diagnostics.emplace_back("imageLength", features["image_vectors"].detach().norm(2, {1}).mean());
    return terms;
  }

  Response respond(const Parameters& parameters, const EncoderOutputs& tokens, const RespondOptions&) const override {
    Response result;
    result.image_embedding = embed(parameters, Modality::kImage, tokens.image);
    result.audio_embedding = embed(parameters, Modality::kAudio, tokens.audio);
    const Tensor scaled = losses::unit(tokens.image * parameters[kScale]);
    result.audio_maps = at::matmul(scaled, result.audio_embedding.unsqueeze(2)).transpose(1, 2);
    result.range = {-1.0, 1.0};
    return result;
  }

  Tensor embed(const Parameters& parameters, Modality, const Tensor& tokens) const override {
    return losses::unit((tokens * parameters[kScale]).mean(1));
  }

 private:
  const int64_t dim_;
};

const Register registered_method{kName, [](const encoders::ModelConfig& config) -> std::unique_ptr<Method> {
                                   return std::make_unique<ScaledCosine>(config);
                                 }};

}  // namespace
}  // namespace soundspot::methods
