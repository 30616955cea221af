#include "training/step.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "core/autocast.h"
#include "core/error.h"
#include "core/precision.h"
#include "kernels/device.h"
#include "training/rollback.h"

namespace soundspot::training {

namespace {

constexpr char kDraws[] = "random.draws";          // int64 [2]: seed and steps
constexpr char kGenerator[] = "random.generator";  // of runs from before draws were a function of their place

using methods::Features;
using methods::Views;

/// Calls `work(first, count)` for each part of a batch.
template <class Work>
void over_parts(int64_t batch, int64_t part, const Work& work) {
  for (int64_t first = 0; first < batch; first += part) work(first, std::min(part, batch - first));
}

encoders::Pass encoder_pass(const StepOptions& options) {
  const bool fused = !options.plain && kernels::fused_on(options.compute.device);
  if (options.frozen_statistics) return fused ? encoders::Pass::kFusedEvaluation : encoders::Pass::kEvaluation;
  return fused ? encoders::Pass::kTraining : encoders::Pass::kPlainTraining;
}

/// The parts' gradients through their own forward pass, from those of the joined features.
void differentiate_part(const Features& whole, const Features& part, int64_t first, int64_t count,
                        const std::function<void(const std::vector<Tensor>&, const std::vector<Tensor>&)>& backward) {
  std::vector<Tensor> roots, gradients;
  for (size_t i = 0; i < part.items().size(); ++i) {
    const Tensor &own = part.items()[i].second, &joined = whole.items()[i].second;
    if (!own.requires_grad() || !joined.grad().defined()) continue;
    roots.push_back(own);
    gradients.push_back(joined.grad().narrow(0, first, count));
  }
  if (!roots.empty()) backward(roots, gradients);
}

/// @throws Error ERR_SHAPE when a view is not a batch for the model.
void check_views(const methods::Localizer& localizer, const Views& views) {
  methods::check_shapes(localizer.config(), views.pairs.images, views.pairs.spectrograms);
  for (const auto& [name, view] : views.others) {
    methods::check_shapes(localizer.config(), view.images, view.spectrograms);
  }
}

void clear_gradients(const core::Parameters& parameters) {
  for (const core::Parameter& parameter : parameters.all()) parameter.value.mutable_grad() = Tensor();
}

std::vector<Tensor> gradients_of(const core::Parameters& parameters) {
  std::vector<Tensor> gradients;
  for (const core::Parameter& parameter : parameters.all()) {
    if (parameter.value.grad().defined()) gradients.push_back(parameter.value.grad());
  }
  return gradients;
}

/// The running statistics and averages, which a step changes outside of the optimizer.
core::NamedTensors moved_by_passes(const core::Parameters& parameters) {
  core::NamedTensors moved;
  for (const core::Parameter& parameter : parameters.all()) {
    if (!parameter.trainable && !parameter.unused && parameter.value.is_floating_point()) {
      moved.emplace_back(parameter.name, parameter.value);
    }
  }
  return moved;
}

/// The L2 norm of the whole gradient, [1] float64.
Tensor norm_of(const std::vector<Tensor>& gradients, at::Device device) {
  const auto* const own = kernels::kernels_of(device);
  if (own != nullptr && !gradients.empty()) return own->gradient_norm(gradients, /*clip=*/0, {}).norm;
  Tensor squared = at::zeros({1}, at::device(device).dtype(at::kDouble));
  for (const Tensor& gradient : gradients) squared += gradient.pow(2).sum(at::kDouble);
  return squared.sqrt_();
}

/// Whether a device may record steps of these options.
bool repeats(const StepOptions& options) {
  return kernels::kernels_of(options.compute.device) != nullptr && options.update && !options.keep_gradients;
}

/// Everything that a step's work depends on beside its views, its draws and the learning rate.
std::string key_of(const StepOptions& options, const Views& views) {
  std::ostringstream key;
  key << std::hexfloat;
  for (const auto& loss : options.losses) key << loss.name << ' ' << loss.weight << ' ' << loss.temperature << ' ';
  const AdamOptions& own = options.optimizer;
  key << own.beta1 << ' ' << own.beta2 << ' ' << own.epsilon << ' ' << own.weight_decay << ' ' << own.coupled << ' '
      << options.clip << ' ' << options.false_negative_k << ' ' << options.micro_batch << ' '
      << static_cast<int>(options.compute.precision) << ' ' << options.masking << options.frozen_statistics
      << options.local_contrast << options.shared_statistics << options.plain;
  const auto add = [&](const std::string& name, const methods::View& view) {
    key << ' ' << name << view.images.sizes() << view.spectrograms.sizes();
  };
  add("pairs", views.pairs);
  for (const auto& [name, view] : views.others) add(name, view);
  return key.str();
}

}  // namespace

TrainingState::TrainingState(std::shared_ptr<methods::Localizer> localizer, uint64_t seed,
                             c10::intrusive_ptr<distributed::ProcessGroup> group)
    : localizer_(std::move(localizer)), seed_(seed), group_(std::move(group)) {}

StepResult TrainingState::step(const Views& views, const StepOptions& options) {
  const core::DeviceProducts products(options.compute);
  if (!group_) return take_step(views, options);
  const distributed::NoWarnings no_warnings;
  return group_->guarded([&] {
    // Not before: the parameters of a quantized model have memory from its first step on.
    if (!reducer_) reducer_ = std::make_unique<distributed::GradientReducer>(group_, localizer_->parameters());
    return take_step(views, options);
  });
}

StepResult TrainingState::take_step(const Views& views, const StepOptions& options) {
  check_views(*localizer_, views);
  const core::Parameters& parameters = localizer_->parameters();
  StepResult result;
  if (options.compute.on_cpu()) {
    Rollback rollback(parameters);
    Outcome outcome = differentiate(views, options, core::Draws(seed_, steps_));
    result = read(outcome, options);
    const at::NoGradGuard no_grad;
    if (options.clip > 0 && result.gradient_norm > options.clip) {
      for (Tensor& gradient : gradients_of(parameters)) gradient.mul_(options.clip / result.gradient_norm);
    }
    if (options.update) optimizer_.step(parameters, options.optimizer);
    rollback.keep_changes();
  } else {
    Outcome outcome = work_on_device(views, options);
    result = read(outcome, options);
  }
  if (options.update) ++steps_;
  clear_gradients(parameters);
  return result;
}

Outcome TrainingState::work_on_device(const Views& views, const StepOptions& options) {
  const bool repeated = !group_ && repeats(options);
  if (repeated) {
    if (!learning_rate_.defined()) {
      learning_rate_ = at::empty({}, at::device(options.compute.device).dtype(at::kFloat));
    }
    learning_rate_.fill_(options.optimizer.learning_rate);
  }
  // The update begins before the host knows whether it is taken.
  const auto work = [this, options, rate = repeated ? learning_rate_ : Tensor()](const Views& own,
                                                                                 const core::Draws& draws) {
    const core::Parameters& parameters = localizer_->parameters();
    Rollback rollback(parameters);
    Outcome outcome = differentiate(own, options, draws);
    const at::NoGradGuard no_grad;
    Condition condition{.taken = outcome.reading.all_finite(), .divisor = {}, .learning_rate = rate};
    if (options.clip > 0) {
      condition.divisor = (outcome.norm / options.clip).clamp_min(1).to(at::kFloat).reshape({});
    }
    rollback.choose(condition.taken);
    if (options.update) outcome.first_moments = optimizer_.step(parameters, options.optimizer, condition);
    rollback.keep_chosen();
    return outcome;
  };
  const core::Draws draws(seed_, steps_);
  return repeated ? recorded_.take(key_of(options, views), views, draws, work) : work(views, draws);
}

Outcome TrainingState::differentiate(const Views& views, const StepOptions& options, const core::Draws& draws) {
  const core::Parameters& parameters = localizer_->parameters();
  const methods::Method& method = localizer_->method();
  const int64_t batch = views.batch();
  const bool in_parts = options.micro_batch > 0 && options.micro_batch < batch;

  const encoders::Pass pass = encoder_pass(options);
  const distributed::PeersPointer statistics = options.shared_statistics ? group_ : nullptr;
  methods::StepContext context{.compute = options.compute,
                               .parameters = parameters,
                               .encode_with = {},
                               .losses = options.losses,
                               .false_negative_k = options.false_negative_k,
                               .masking = options.masking,
                               .plain = options.plain,
                               .draws = draws,
                               .share = {},
                               .peers = options.local_contrast ? nullptr : group_};
  context.encode_with = [&](const Tensor& images, const Tensor& spectrograms, const methods::EncodeOptions& how) {
    const at::AutoGradMode gradients(at::GradMode::is_enabled() && !how.copies);
    const core::Autocast autocast(options.compute);
    const methods::Encoders& own = how.copies ? localizer_->copies() : localizer_->encoders();
    const encoders::ForwardOptions forward{
        .pass = pass, .peers = statistics, .dropout = encoders::Dropout{context.draws, context.share, how.pass}};
    encoders::EncoderOutputs tokens;
    if (images.defined()) tokens.image = own.image.forward(parameters, images, forward);
    if (spectrograms.defined()) tokens.audio = own.audio.forward(parameters, spectrograms, forward);
    return tokens;
  };
  method.begin_step(context);
  const int64_t own_first = group_ ? group_->rank() * batch : 0;
  const auto forward = [&](int64_t first, int64_t count) {
    context.share = {.first = own_first + first, .total = group_ ? group_->size() * batch : batch};
    return method.features(views.narrow(first, count), context);
  };

  Features features;
  if (in_parts) {
    // Once without gradients, for the values that losses compare across the batch; the parts are computed again below.
    const at::NoGradGuard no_grad;
    const Rollback statistics(parameters);  // counted once, by the pass below
    std::vector<Features> parts;
    over_parts(batch, options.micro_batch,
               [&](int64_t first, int64_t count) { parts.push_back(forward(first, count)); });
    features = Features::joined(parts);
  } else {
    features = forward(0, batch);
  }

  const methods::Terms terms = method.losses(features, context);
  const at::Device device = options.compute.device;
  Tensor total = at::zeros({}, at::device(device).dtype(at::kFloat));
  for (size_t i = 0; i < terms.values.size(); ++i) total = total + terms.values[i].second * options.losses[i].weight;

  clear_gradients(parameters);
  const auto backward = [&](const std::vector<Tensor>& roots, const std::vector<Tensor>& gradients, bool last) {
    if (reducer_ && last) reducer_->prepare(roots);
    torch::autograd::backward(roots, gradients);
  };
  if (total.requires_grad()) backward({total}, {}, /*last=*/!in_parts);
  if (in_parts) {
    over_parts(batch, options.micro_batch, [&](int64_t first, int64_t count) {
      const bool last = first + count == batch;
      differentiate_part(features, forward(first, count), first, count,
                         [&](const auto& roots, const auto& gradients) { backward(roots, gradients, last); });
    });
  }

  const at::NoGradGuard no_grad;
  Outcome outcome;
  if (options.keep_gradients) {
    for (const core::Parameter& parameter : parameters.all()) {
      const Tensor& gradient = parameter.value.grad();
      if (!gradient.defined()) continue;
      outcome.kept_gradients.emplace_back(parameter.name, gradient.clone(at::MemoryFormat::Contiguous));
    }
  }
  outcome.norm = norm_of(gradients_of(parameters), device);
  std::vector<Tensor> moved;
  for (const auto& [name, value] : moved_by_passes(parameters)) {
    outcome.moved.push_back(name);
    moved.push_back(value);
  }
  const auto add = [&](const auto& named, std::vector<std::string>& names) {
    for (const auto& [name, value] : named) {
      names.push_back(name);
      outcome.reading.add(value);
    }
  };
  add(terms.values, outcome.losses);
  add(terms.diagnostics, outcome.diagnostics);
  if (group_) outcome.reading.add(at::scalar_tensor(options.stop ? 1 : 0, at::device(device)));
  outcome.reading.add_deciding(total.detach().to(at::kDouble).reshape({1}));
  outcome.reading.add_deciding(outcome.norm);
  outcome.reading.add_deciding(core::finite_marks(moved, device));
  outcome.reading.share(group_);
  return outcome;
}

StepResult TrainingState::read(Outcome& outcome, const StepOptions& options) {
  Reading& reading = outcome.reading;
  reading.read();
  const auto checked = [&](bool good, const std::string& what, const char* advice) {
    if (good) return;
    // A recording of this step looks at the moments that are forgotten.
    if (!outcome.first_moments.empty()) recorded_.clear();
    optimizer_.forget(outcome.first_moments);
    clear_gradients(localizer_->parameters());
    throw Error("ERR_INTERNAL", what + ", and the step was not taken. Lower the learning rate" + advice);
  };
  StepResult result;
  for (const std::string& name : outcome.losses) result.losses.emplace_back(name, reading.next());
  for (const std::string& name : outcome.diagnostics) result.diagnostics.emplace_back(name, reading.next());
  result.stop = group_ ? reading.next() > 0 : options.stop;
  const double loss = reading.next();
  result.losses.emplace_back("total", loss);
  checked(std::isfinite(loss), "The loss is not finite", ", set clip, or look for damaged samples.");
  result.gradient_norm = reading.next();
  checked(std::isfinite(result.gradient_norm), "A gradient is not finite", ".");
  for (const std::string& name : outcome.moved) {
    checked(std::isfinite(reading.next()), name + " is no longer finite",
            ", set clip, or go on from an earlier checkpoint.");
  }
  result.gradients = std::move(outcome.kept_gradients);
  return result;
}

core::NamedTensors TrainingState::state() const {
  auto tensors = optimizer_.state();
  tensors.emplace_back(kDraws, at::tensor({static_cast<int64_t>(seed_), static_cast<int64_t>(steps_)},  // not in a step
                                          at::dtype(at::kLong)));
  return tensors;
}

void TrainingState::restore(const core::NamedTensors& tensors) {
  const auto found = [&](const char* name) -> const Tensor* {
    const auto place =
        std::find_if(tensors.begin(), tensors.end(), [&](const auto& each) { return each.first == name; });
    return place == tensors.end() ? nullptr : &place->second;
  };
  const Tensor* draws = found(kDraws);
  const Tensor* generator = found(kGenerator);
  const bool good = draws ? draws->scalar_type() == at::kLong && draws->sizes() == at::IntArrayRef{2}
                          : generator && generator->scalar_type() == at::kByte;
  if (!good) {
    throw Error("ERR_CHECKPOINT_MISMATCH",
                "There is no random state of a training run inside. Give the last.safetensors of one.");
  }
  optimizer_.restore(localizer_->parameters(), tensors);
  recorded_.clear();
  if (draws) {
    seed_ = static_cast<uint64_t>((*draws)[0].item<int64_t>());   // not in a step
    steps_ = static_cast<uint64_t>((*draws)[1].item<int64_t>());  // not in a step
  } else {
    // An earlier version's generator cannot be gone on with: the draws of the step that the optimizer has come to.
    steps_ = optimizer_.steps();
  }
}

void TrainingState::broadcast(bool statistics_alone) {
  if (!group_) return;
  group_->guarded([&] {
    std::vector<Tensor> values;
    for (const core::Parameter& parameter : localizer_->parameters().all()) {
      if (parameter.unused) continue;  // rank 0 alone reads and writes files
      if (!statistics_alone || !parameter.trainable) values.push_back(parameter.value.detach());
    }
    group_->broadcast(values);
    if (statistics_alone) return;

    core::NamedTensors own = state();
    std::string names;
    for (const auto& [name, tensor] : own) names += name + '\n';
    std::istringstream lines(group_->gather_bytes(names).front());
    core::NamedTensors received;
    for (std::string name; std::getline(lines, name);) {
      received.emplace_back(name,
                            name == kDraws ? at::zeros({2}, at::kLong) : Adam::blank(localizer_->parameters(), name));
    }
    values.clear();
    if (group_->rank() == 0) received = own;
    for (const auto& [name, tensor] : received) values.push_back(tensor);
    group_->broadcast(values);
    if (group_->rank() != 0) restore(received);
  });
}

}  // namespace soundspot::training
