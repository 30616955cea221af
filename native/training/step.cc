#include "training/step.h"

#include <algorithm>
#include <cmath>

#include "error.h"
#include "losses/false_negatives.h"
#include "losses/loss.h"

namespace soundspot::training {

namespace {

AttentionStatistics statistics(const Tensor& attention, int64_t target_slots) {
  const at::NoGradGuard no_grad;
  const Tensor rows = attention.narrow(1, 0, target_slots);  // [B, T, N]
  const auto tokens = static_cast<double>(rows.size(2));
  AttentionStatistics result;
  result.entropy = -(rows * rows.log()).sum(2).mean().item<double>() / std::log(tokens);
  result.spread = rows.std(2, /*unbiased=*/false).mean().item<double>() * tokens;
  return result;
}

/// Puts back what a forward pass changes outside of the gradients (running statistics of batch norm, the generator)
/// unless the step is taken.
class Restorer {
 public:
  Restorer(const model::Parameters& parameters, at::Generator generator)
      : generator_(std::move(generator)), state_(generator_.get_state()) {
    for (const model::Parameter& parameter : parameters.all()) {
      if (!parameter.trainable) kept_.emplace_back(parameter.value, parameter.value.clone());
    }
  }
  ~Restorer() {
    if (taken_) return;
    const at::NoGradGuard no_grad;
    for (auto& [value, before] : kept_) value.copy_(before);
    generator_.set_state(state_);
  }
  Restorer(const Restorer&) = delete;
  Restorer& operator=(const Restorer&) = delete;

  void keep_changes() { taken_ = true; }

 private:
  at::Generator generator_;
  Tensor state_;
  std::vector<std::pair<Tensor, Tensor>> kept_;
  bool taken_ = false;
};

}  // namespace

TrainingState::TrainingState(std::shared_ptr<model::Localizer> localizer, uint64_t seed)
    : localizer_(std::move(localizer)), generator_(at::make_generator<at::CPUGeneratorImpl>(seed)) {}

StepResult TrainingState::step(const Tensor& images, const Tensor& spectrograms, const StepOptions& options) {
  const model::Parameters& parameters = localizer_->parameters();
  const model::ModelConfig& config = localizer_->config();

  model::ForwardOptions forward{.attention = false,
                                .reconstruction = false,
                                .masking = options.masking,
                                .bfloat16 = options.bfloat16,
                                .plain = options.plain};
  for (const WeightedLoss& loss : options.losses) {
    const losses::LossNeeds& needs = losses::find_loss(loss.name).needs;
    forward.attention |= needs.attention;
    forward.reconstruction |= needs.reconstruction;
    forward.keys |= needs.keys;
  }
  Restorer restorer(parameters, generator_);
  const model::Outputs outputs = localizer_->train(images, spectrograms, forward, generator_);
  const model::JointAttention& attention = outputs.attention;

  StepResult result;
  Tensor excluded;
  if (forward.attention && options.false_negative_k > 0) {
    const at::NoGradGuard no_grad;
    const int64_t targets = config.target_slots;
    excluded = losses::false_negatives(losses::target_similarity(attention.image_slots, attention.image_slots, targets),
                                       losses::target_similarity(attention.audio_slots, attention.audio_slots, targets),
                                       options.false_negative_k);
    result.false_negatives = excluded.sum().item<int64_t>();
  }

  Tensor total = at::zeros({}, at::kFloat);
  for (const WeightedLoss& loss : options.losses) {
    const Tensor value = losses::find_loss(loss.name).compute({outputs, config, loss.temperature, excluded});
    total = total + value * loss.weight;
    result.losses[loss.name] = value.item<double>();
  }
  result.losses["total"] = total.item<double>();
  if (!std::isfinite(result.losses["total"])) {
    throw Error("ERR_INTERNAL",
                "The loss is not finite, and the step was not taken. Lower the learning rate, set clip, or look for "
                "damaged samples.");
  }

  for (const model::Parameter& parameter : parameters.all()) parameter.value.mutable_grad() = Tensor();
  if (total.requires_grad()) torch::autograd::backward({total}, {});

  Tensor squared = at::zeros({}, at::kDouble);
  for (const model::Parameter& parameter : parameters.all()) {
    if (!parameter.value.grad().defined()) continue;
    const Tensor gradient = parameter.value.grad();
    squared += gradient.pow(2).sum(at::kDouble);
    if (options.keep_gradients)
      result.gradients.emplace_back(parameter.name, gradient.clone(at::MemoryFormat::Contiguous));
  }
  result.gradient_norm = std::sqrt(squared.item<double>());
  if (!std::isfinite(result.gradient_norm)) {
    throw Error("ERR_INTERNAL", "A gradient is not finite, and the step was not taken. Lower the learning rate.");
  }
  restorer.keep_changes();
  if (options.clip > 0 && result.gradient_norm > options.clip) {
    const at::NoGradGuard no_grad;
    for (const model::Parameter& parameter : parameters.all()) {
      if (parameter.value.grad().defined()) parameter.value.mutable_grad().mul_(options.clip / result.gradient_norm);
    }
  }
  if (options.update) optimizer_.step(parameters, options.optimizer);
  for (const model::Parameter& parameter : parameters.all()) parameter.value.mutable_grad() = Tensor();

  if (forward.attention) {
    result.has_attention = true;
    result.image = statistics(attention.image_on_image, config.target_slots);
    result.audio = statistics(attention.audio_on_audio, config.target_slots);
  }
  return result;
}

std::vector<std::pair<std::string, Tensor>> TrainingState::state() const {
  auto tensors = optimizer_.state();
  tensors.emplace_back("random.generator", generator_.get_state());
  return tensors;
}

void TrainingState::restore(const std::vector<std::pair<std::string, Tensor>>& tensors) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [](const auto& tensor) { return tensor.first == "random.generator"; });
  const Tensor expected = generator_.get_state();
  if (found == tensors.end() || found->second.scalar_type() != at::kByte || found->second.sizes() != expected.sizes()) {
    throw Error("ERR_CHECKPOINT_MISMATCH",
                "There is no random state of a training run inside. Give the last.safetensors of one.");
  }
  optimizer_.restore(localizer_->parameters(), tensors);
  generator_.set_state(found->second.clone());
}

}  // namespace soundspot::training
