#include "training/step.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>

#include "core/error.h"
#include "losses/false_negatives.h"
#include "losses/loss.h"

namespace soundspot::training {

namespace {

constexpr char kGenerator[] = "random.generator";

/// Entropy and spread of AttentionStatistics.
std::array<Tensor, 2> statistics(const Tensor& attention, int64_t target_slots) {
  const at::NoGradGuard no_grad;
  const Tensor rows = attention.narrow(1, 0, target_slots);  // [B, T, N]
  const auto tokens = static_cast<double>(rows.size(2));
  return {-(rows * rows.log()).sum(2).mean() / std::log(tokens), rows.std(2, /*unbiased=*/false).mean() * tokens};
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
    if (!taken_) restore();
  }
  Restorer(const Restorer&) = delete;
  Restorer& operator=(const Restorer&) = delete;

  void restore() {
    const at::NoGradGuard no_grad;
    for (auto& [value, before] : kept_) value.copy_(before);
    generator_.set_state(state_);
  }
  void keep_changes() { taken_ = true; }

 private:
  at::Generator generator_;
  Tensor state_;
  std::vector<std::pair<Tensor, Tensor>> kept_;
  bool taken_ = false;
};

/// Calls `work(first, count)` for each part of a batch.
template <class Work>
void over_parts(int64_t batch, int64_t part, const Work& work) {
  for (int64_t first = 0; first < batch; first += part) work(first, std::min(part, batch - first));
}

/// The parts' outputs joined, as leaves that take gradients.
model::Outputs joined(std::vector<model::Outputs>& parts) {
  model::Outputs whole;
  const std::vector<Tensor*> to = whole.tensors();
  for (size_t i = 0; i < to.size(); ++i) {
    std::vector<Tensor> pieces;
    for (model::Outputs& part : parts) {
      if (part.tensors()[i]->defined()) pieces.push_back(*part.tensors()[i]);
    }
    if (!pieces.empty()) *to[i] = at::cat(pieces).requires_grad_();
  }
  return whole;
}

}  // namespace

TrainingState::TrainingState(std::shared_ptr<model::Localizer> localizer, uint64_t seed,
                             c10::intrusive_ptr<distributed::ProcessGroup> group)
    : localizer_(std::move(localizer)),
      generator_(at::make_generator<at::CPUGeneratorImpl>(seed)),
      group_(std::move(group)) {
  if (group_) reducer_ = std::make_unique<distributed::GradientReducer>(group_, localizer_->parameters());
}

StepResult TrainingState::step(const Tensor& images, const Tensor& spectrograms, const StepOptions& options) {
  if (!group_) return take_step(images, spectrograms, options);
  const distributed::NoWarnings no_warnings;
  return group_->guarded([&] { return take_step(images, spectrograms, options); });
}

StepResult TrainingState::take_step(const Tensor& images, const Tensor& spectrograms, const StepOptions& options) {
  const model::Parameters& parameters = localizer_->parameters();
  const model::ModelConfig& config = localizer_->config();

  model::ForwardOptions forward{.attention = false,
                                .reconstruction = false,
                                .masking = options.masking,
                                .bfloat16 = options.bfloat16,
                                .plain = options.plain,
                                .frozen_statistics = options.frozen_statistics,
                                .statistics = options.shared_statistics ? group_ : nullptr};
  for (const WeightedLoss& loss : options.losses) {
    const losses::LossNeeds& needs = losses::find_loss(loss.name).needs;
    forward.attention |= needs.attention;
    forward.reconstruction |= needs.reconstruction;
    forward.keys |= needs.keys;
  }
  Restorer restorer(parameters, generator_);
  const int64_t batch = images.size(0);
  const bool in_parts = options.micro_batch > 0 && options.micro_batch < batch;
  const auto pass = [&](int64_t first, int64_t count) {
    if (group_) forward.share = {.first = group_->rank() * count, .total = group_->size() * count};
    return localizer_->train(images.narrow(0, first, count), spectrograms.narrow(0, first, count), forward, generator_);
  };
  model::Outputs outputs;
  if (in_parts) {
    // Once without gradients, for what the losses compare across the batch; statistics and masks are drawn again below.
    const at::NoGradGuard no_grad;
    std::vector<model::Outputs> parts;
    over_parts(batch, options.micro_batch, [&](int64_t first, int64_t count) { parts.push_back(pass(first, count)); });
    outputs = joined(parts);
    restorer.restore();
  } else {
    outputs = pass(0, batch);
  }
  const model::JointAttention& attention = outputs.attention;

  const distributed::PeersPointer peers = group_;
  StepResult result;
  Tensor excluded;
  if (forward.attention && options.false_negative_k > 0) {
    const at::NoGradGuard no_grad;
    const int64_t targets = config.target_slots;
    const auto similarity = [&](const Tensor& slots) {
      const Tensor vectors = distributed::gathered(losses::target_vectors(slots, targets), peers);
      return losses::target_similarity(vectors, vectors, targets);
    };
    excluded = losses::false_negatives(similarity(attention.image_slots), similarity(attention.audio_slots),
                                       options.false_negative_k);
    result.false_negatives = excluded.sum().item<int64_t>();
  }

  Tensor total = at::zeros({}, at::kFloat);
  std::vector<Tensor> values;
  for (const WeightedLoss& loss : options.losses) {
    values.push_back(
        losses::find_loss(loss.name).compute({outputs, config, loss.temperature, excluded, peers}).to(at::kFloat));
    total = total + values.back() * loss.weight;
  }
  values.push_back(total);
  if (forward.attention) {
    result.has_attention = true;
    for (const Tensor& own : {attention.image_on_image, attention.audio_on_audio}) {
      for (const Tensor& value : statistics(own, config.target_slots)) values.push_back(value);
    }
  }
  values.push_back(at::scalar_tensor(options.stop ? 1 : 0));
  const Tensor read = at::stack(values).detach().to(at::kCPU, at::kDouble);
  if (group_) {
    group_->sum(read);
    read.div_(group_->size());
  }
  const double* next = read.const_data_ptr<double>();
  for (const WeightedLoss& loss : options.losses) result.losses[loss.name] = *next++;
  result.losses["total"] = *next++;
  if (result.has_attention) {
    result.image = {.entropy = next[0], .spread = next[1]};
    result.audio = {.entropy = next[2], .spread = next[3]};
    next += 4;
  }
  result.stop = *next > 0;
  if (!std::isfinite(result.losses["total"])) {
    throw Error("ERR_INTERNAL",
                "The loss is not finite, and the step was not taken. Lower the learning rate, set clip, or look for "
                "damaged samples.");
  }

  for (const model::Parameter& parameter : parameters.all()) parameter.value.mutable_grad() = Tensor();
  const auto backward = [&](const std::vector<Tensor>& roots, const std::vector<Tensor>& gradients, bool last) {
    if (reducer_ && last) reducer_->prepare(roots);
    torch::autograd::backward(roots, gradients);
  };
  if (total.requires_grad()) backward({total}, {}, /*last=*/!in_parts);
  if (in_parts) {
    over_parts(batch, options.micro_batch, [&](int64_t first, int64_t count) {
      model::Outputs part = pass(first, count);
      const std::vector<Tensor*> whole = outputs.tensors(), own = part.tensors();
      std::vector<Tensor> roots, gradients;
      for (size_t i = 0; i < own.size(); ++i) {
        if (!own[i]->defined() || !own[i]->requires_grad() || !whole[i]->grad().defined()) continue;
        roots.push_back(*own[i]);
        gradients.push_back(whole[i]->grad().narrow(0, first, count));
      }
      if (!roots.empty()) backward(roots, gradients, /*last=*/first + count == batch);
    });
  }

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
  model::NamedTensors running;
  for (const model::Parameter& parameter : parameters.all()) {
    if (!parameter.trainable) running.emplace_back(parameter.name, parameter.value);
  }
  if (const std::string* name = model::first_not_finite(running)) {
    throw Error("ERR_INTERNAL", *name +
                                    " is no longer finite, and the step was not taken. Lower the learning rate, set "
                                    "clip, or go on from an earlier checkpoint.");
  }
  if (options.clip > 0 && result.gradient_norm > options.clip) {
    const at::NoGradGuard no_grad;
    for (const model::Parameter& parameter : parameters.all()) {
      if (parameter.value.grad().defined()) parameter.value.mutable_grad().mul_(options.clip / result.gradient_norm);
    }
  }
  if (options.update) optimizer_.step(parameters, options.optimizer);
  restorer.keep_changes();
  for (const model::Parameter& parameter : parameters.all()) parameter.value.mutable_grad() = Tensor();
  return result;
}

model::NamedTensors TrainingState::state() const {
  auto tensors = optimizer_.state();
  tensors.emplace_back(kGenerator, generator_.get_state());
  return tensors;
}

void TrainingState::restore(const model::NamedTensors& tensors) {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [](const auto& tensor) { return tensor.first == kGenerator; });
  const Tensor expected = generator_.get_state();
  if (found == tensors.end() || found->second.scalar_type() != at::kByte || found->second.sizes() != expected.sizes()) {
    throw Error("ERR_CHECKPOINT_MISMATCH",
                "There is no random state of a training run inside. Give the last.safetensors of one.");
  }
  optimizer_.restore(localizer_->parameters(), tensors);
  generator_.set_state(found->second.clone());
}

void TrainingState::broadcast(bool statistics_alone) {
  if (!group_) return;
  group_->guarded([&] {
    std::vector<Tensor> values;
    for (const model::Parameter& parameter : localizer_->parameters().all()) {
      if (!statistics_alone || !parameter.trainable) values.push_back(parameter.value.detach());
    }
    group_->broadcast(values);
    if (statistics_alone) return;

    model::NamedTensors own = state();
    std::string names;
    for (const auto& [name, tensor] : own) names += name + '\n';
    std::istringstream lines(group_->gather_bytes(names).front());
    model::NamedTensors received;
    for (std::string name; std::getline(lines, name);) {
      received.emplace_back(name,
                            name == kGenerator ? generator_.get_state() : AdamW::blank(localizer_->parameters(), name));
    }
    values.clear();
    if (group_->rank() == 0) received = own;
    for (const auto& [name, tensor] : received) values.push_back(tensor);
    group_->broadcast(values);
    if (group_->rank() != 0) restore(received);
  });
}

}  // namespace soundspot::training
