// SSL-TIE (Liu et al., "Exploiting transformation invariance and equivariance for self-supervised sound localisation",
// ACM MM 2022): LVS's contrast of the batch and of its transformed images, and maps that move with the images.
#include <cmath>

#include "methods/token_cosine.h"
#include "methods/transform.h"

namespace soundspot::methods {
namespace {

constexpr char kName[] = "ssl-tie";

class SslTie final : public TokenCosine {
 public:
  explicit SslTie(const encoders::ModelConfig& config)
      : TokenCosine(kName),
        size_(config.image_size),
        side_(config.image_tokens_per_side()),
        most_(config.method.integer("maxAngle")),
        scale_(config.method.number("smallScale")),
        features_(config.dim) {}

  /// What the published files have beside both encoders.
  std::vector<encoders::UnusedTensor> unused() const override {
    return {{"vision_fc1.weight", {features_, 2 * features_, 1, 1}},
            {"vision_fc1.bias", {features_}},
            {"conv3.weight", {1, 1, 1, 1}},
            {"conv3.bias", {1}},
            {"norm3.weight", {1}},
            {"norm3.bias", {1}},
            {"norm3.running_mean", {1}},
            {"norm3.running_var", {1}},
            {"norm3.num_batches_tracked", {}, at::kLong}};
  }

  Features features(const Views& views, const StepContext& context) const override {
    const std::vector<std::string> names = needed(context.losses, kName,
                                                  {"image_tokens", "audio_tokens", "image_tokens_transformed",
                                                   "audio_tokens_again", "map_of_transformed", "transformed_map"});
    const auto& [images, spectrograms] = views.pairs;
    const EncoderOutputs tokens = context.encode(images, spectrograms);
    Features result;
    result.add("image_tokens", tokens.image);
    result.add("audio_tokens", tokens.audio);
    const bool plain = std::all_of(names.begin(), names.end(), [](const std::string& name) {
      return name == "image_tokens" || name == "audio_tokens";
    });
    if (plain) return result;

    const Transform transform = drawn(context, images.size(0), images.device());
    const auto smaller = std::lround(transform.scale * static_cast<double>(size_));
    const EncoderOutputs again =
        context.encode(transformed(images, transform, size_, smaller), spectrograms, {.pass = 1});
    result.add("image_tokens_transformed", again.image);
    result.add("audio_tokens_again", again.audio);
    const Tensor own = losses::own_similarity(tokens.image, losses::audio_vector(tokens.audio));
    const Tensor map = losses::own_similarity(again.image, losses::audio_vector(again.audio));
    const auto side = std::lround(std::sqrt(static_cast<double>(map.size(1))));
    result.add("map_of_transformed", map);
    result.add("transformed_map", transformed(own.view({-1, 1, side_, side_}), transform, size_, side).flatten(1));
    return result;
  }

 private:
  /// One scale and one flip for the batch of all processes, an angle of whole degrees for each sample.
  Transform drawn(const StepContext& context, int64_t count, at::Device device) const {
    const std::vector<float> of_batch = context.draws.numbers(core::Place::kTransform, 0, 2);
    const Tensor of_samples =
        context.draws.uniform(core::Place::kTransform, context.share, count, 3, device).select(1, 2);
    return {.angles = (of_samples * static_cast<double>(2 * most_ + 1)).floor() - static_cast<double>(most_),
            .scale = of_batch[0] < 0.5F ? 1 : scale_,
            .flip = of_batch[1] < 0.5F};
  }

  const int64_t size_, side_, most_;
  const double scale_;
  const int64_t features_;
};

const Register registered_method{kName, [](const encoders::ModelConfig& config) -> std::unique_ptr<Method> {
                                   return std::make_unique<SslTie>(config);
                                 }};

}  // namespace
}  // namespace soundspot::methods
