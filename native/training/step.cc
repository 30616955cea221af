#include "training/step.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "core/autocast.h"
#include "core/error.h"
#include "core/precision.h"
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
  if (options.frozen_statistics) return encoders::Pass::kEvaluation;
  // The fused kernels are the CPU's.
  return options.plain || !options.compute.on_cpu() ? encoders::Pass::kPlainTraining : encoders::Pass::kTraining;
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

/// Everything that is read from the device in a step, in one transfer; means over the processes of a group.
class Reading {
 public:
  void add(const Tensor& scalar) { values_.push_back(scalar.detach().to(at::kDouble).reshape({1})); }

  /// Values [n] float64, after all others: the step is taken where every one of every process is finite.
  void add_deciding(const Tensor& values) {
    deciding_.push_back(values.detach());
    deciders_ += values.size(0);
  }

  /// Means over the processes; nothing is added after it.
  void share(const c10::intrusive_ptr<distributed::ProcessGroup>& group) {
    values_.insert(values_.end(), deciding_.begin(), deciding_.end());
    joined_ = at::cat(values_);
    if (!group) return;
    group->sum(joined_);
    joined_.div_(group->size());
  }

  /// Whether all deciding values are finite: a bool that stays on the device.
  Tensor all_finite() const { return joined_.narrow(0, joined_.size(0) - deciders_, deciders_).isfinite().all(); }

  void read() {
    next_ = (read_ = joined_.to(at::kCPU)).const_data_ptr<double>();  // the one read
  }
  /// In the order in which they were added.
  double next() { return *next_++; }

 private:
  std::vector<Tensor> values_, deciding_;
  int64_t deciders_ = 0;
  Tensor joined_, read_;
  const double* next_ = nullptr;
};

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
  if (device.is_cpu() || gradients.empty()) {
    Tensor squared = at::zeros({1}, at::device(device).dtype(at::kDouble));
    for (const Tensor& gradient : gradients) squared += gradient.pow(2).sum(at::kDouble);
    return squared.sqrt_();
  }
  return at::stack(at::_foreach_norm(gradients, 2)).to(at::kDouble).pow_(2).sum(0, /*keepdim=*/true).sqrt_();
}

}  // namespace

TrainingState::TrainingState(std::shared_ptr<methods::Localizer> localizer, uint64_t seed,
                             c10::intrusive_ptr<distributed::ProcessGroup> group)
    : localizer_(std::move(localizer)), seed_(seed), group_(std::move(group)) {
  if (group_) reducer_ = std::make_unique<distributed::GradientReducer>(group_, localizer_->parameters());
}

StepResult TrainingState::step(const Views& views, const StepOptions& options) {
  const core::Float32Products products(options.compute);
  if (!group_) return take_step(views, options);
  const distributed::NoWarnings no_warnings;
  return group_->guarded([&] { return take_step(views, options); });
}

StepResult TrainingState::take_step(const Views& views, const StepOptions& options) {
  const core::Parameters& parameters = localizer_->parameters();
  const methods::Method& method = localizer_->method();
  const int64_t batch = views.batch();
  check_views(*localizer_, views);
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
                               .draws = core::Draws(seed_, steps_),
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
  // Of a step that fails: running statistics, and what begin_step moves.
  Rollback rollback(parameters);
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
  StepResult result;
  std::vector<Tensor> gradients;
  for (const core::Parameter& parameter : parameters.all()) {
    if (!parameter.value.grad().defined()) continue;
    gradients.push_back(parameter.value.grad());
    if (options.keep_gradients) {
      result.gradients.emplace_back(parameter.name, gradients.back().clone(at::MemoryFormat::Contiguous));
    }
  }
  const Tensor norm = norm_of(gradients, device);
  const core::NamedTensors moved = moved_by_passes(parameters);
  std::vector<Tensor> moved_values;
  for (const auto& [name, value] : moved) moved_values.push_back(value);

  Reading reading;
  for (const auto& [name, value] : terms.values) reading.add(value);
  for (const auto& [name, value] : terms.diagnostics) reading.add(value);
  reading.add(at::scalar_tensor(options.stop ? 1 : 0, at::device(device)));
  reading.add_deciding(total.detach().to(at::kDouble).reshape({1}));
  reading.add_deciding(norm);
  reading.add_deciding(core::finite_marks(moved_values, device));
  reading.share(group_);

  // On another device than the CPU the update begins before the host knows whether it is taken.
  const bool ahead = !options.compute.on_cpu();
  std::vector<std::string> first_moments;
  if (ahead) {
    Condition condition{.taken = reading.all_finite(), .divisor = {}};
    if (options.clip > 0) condition.divisor = (norm / options.clip).clamp_min(1).to(at::kFloat).reshape({});
    rollback.choose(condition.taken);
    if (options.update) first_moments = optimizer_.step(parameters, options.optimizer, condition);
    rollback.keep_chosen();
  }
  reading.read();

  const auto checked = [&](bool good, const std::string& what, const char* advice) {
    if (good) return;
    optimizer_.forget(first_moments);
    clear_gradients(parameters);
    throw Error("ERR_INTERNAL", what + ", and the step was not taken. Lower the learning rate" + advice);
  };
  for (const auto& [name, value] : terms.values) result.losses.emplace_back(name, reading.next());
  for (const auto& [name, value] : terms.diagnostics) result.diagnostics.emplace_back(name, reading.next());
  result.stop = reading.next() > 0;
  const double loss = reading.next();
  result.losses.emplace_back("total", loss);
  checked(std::isfinite(loss), "The loss is not finite", ", set clip, or look for damaged samples.");
  result.gradient_norm = reading.next();
  checked(std::isfinite(result.gradient_norm), "A gradient is not finite", ".");
  for (const auto& [name, value] : moved) {
    checked(std::isfinite(reading.next()), name + " is no longer finite",
            ", set clip, or go on from an earlier checkpoint.");
  }

  if (!ahead) {
    if (options.clip > 0 && result.gradient_norm > options.clip) {
      for (Tensor& gradient : gradients) gradient.mul_(options.clip / result.gradient_norm);
    }
    if (options.update) optimizer_.step(parameters, options.optimizer);
    rollback.keep_changes();
  }
  if (options.update) ++steps_;
  clear_gradients(parameters);
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
