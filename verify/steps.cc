#include "verify/steps.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/error.h"
#include "core/precision.h"
#include "training/step.h"
#include "verify/problem.h"

namespace soundspot::verify {
namespace {

using training::StepOptions;
using training::StepResult;
using training::TrainingState;

constexpr int64_t kBatch = 8;
constexpr uint64_t kSeed = 7;
constexpr int kGoodSteps = 4;

encoders::ModelConfig small_model(const MethodCase& of) {
  encoders::ModelConfig config;
  config.image_size = 64;
  config.image_stride = config.audio_stride = 16;
  config.image_width = 16;
  config.audio_width = 8;
  config.dim = 32;
  config.audio.seconds = 1;
  if (of.pooled_audio) config.audio_pooling = encoders::AudioPooling::kGlobal;
  config.method = {of.name, of.numbers};
  return config;
}

/// The same batch on a device, with the views of the method.
methods::Views batch_of(const methods::Localizer& localizer, at::Device device, uint64_t seed = kSeed) {
  const encoders::ModelConfig& config = localizer.config();
  at::manual_seed(seed);
  const auto view = [&] {
    return methods::View{at::randn({kBatch, 3, config.image_size, config.image_size}).to(device),
                         at::randn({kBatch, 1, config.frequency_bins(), config.frames()}).to(device)};
  };
  methods::Views views{view(), {}};
  for (const std::string& name : localizer.method().views()) views.others.emplace(name, view());
  return views;
}

struct Model {
  std::shared_ptr<methods::Localizer> localizer;
  TrainingState state;
  methods::Views views;

  Model(const MethodCase& of, at::Device device)
      : localizer(std::make_shared<methods::Localizer>(small_model(of), kSeed, device)),
        state(localizer, kSeed),
        views(batch_of(*localizer, device)) {}

  /// Multiplies every weight by a number that is off 1 by `share`, more or less.
  void nudge(double share) {
    const at::NoGradGuard no_grad;
    for (const core::Parameter& parameter : localizer->parameters().all()) {
      if (parameter.trainable) parameter.value.mul_(1 + share * at::randn_like(parameter.value));
    }
  }

  /// Copies on the CPU.
  core::NamedTensors values() const {
    core::NamedTensors all;
    for (const core::Parameter& parameter : localizer->parameters().all()) {
      all.emplace_back(parameter.name, parameter.value.detach().to(at::kCPU, parameter.value.scalar_type(),
                                                                   /*non_blocking=*/false, /*copy=*/true));
    }
    return all;
  }
};

/// Adam's first step divides a gradient by its own size: where that is nothing but rounding, the step is of full length
/// in either direction. With an epsilon that is greater than gradients, and a rate as great, a step is about as long as
/// the gradient, and its error is that of the gradient.
constexpr double kCalm = 10;
/// Of the rate, where several steps follow each other: long ones enlarge rounding in the next.
constexpr double kShort = 1e-4;

StepOptions options_of(const MethodCase& of, at::Device device, core::Precision precision, bool plain) {
  StepOptions options;
  options.optimizer.learning_rate = kCalm;
  options.optimizer.epsilon = kCalm;
  options.optimizer.weight_decay = 1e-5;
  options.losses = of.losses;
  options.false_negative_k = 3;
  options.compute = {device, precision};
  options.plain = plain;
  options.keep_gradients = true;
  return options;
}

/// What a model was before a step, and what the step gave.
struct Taken {
  core::NamedTensors before, after;
  StepResult result;
};

Taken take(Model& model, const StepOptions& options) {
  Taken taken;
  taken.before = model.values();
  taken.result = model.state.step(model.views, options);
  taken.after = model.values();
  return taken;
}

const Tensor* find(const core::NamedTensors& tensors, const std::string& name) {
  for (const auto& [own, tensor] : tensors) {
    if (own == name) return &tensor;
  }
  return nullptr;
}

struct StepTolerances {
  Tolerance losses, statistics;
  std::optional<Tolerance> gradients;  // without one they and the updates are not compared
  bool joined = false;                 // gradients and updates of all parameters together, not of each
};

StepTolerances tolerances_of(core::Precision precision, bool frozen) {
  if (precision == core::Precision::kBFloat16) {
    StepTolerances tolerances{
        .losses = {0.3, "products of the encoders are rounded to bfloat16, by 2^-8 in each of 17 layers"},
        .statistics = {0.05, "means and variances of activations that are rounded to bfloat16"},
        .gradients = {},
        .joined = true};
    // Statistics of a batch of eight enlarge what is rounded in new models: gradients in bfloat16 are then another
    // direction on every processor.
    if (frozen) {
      tolerances.gradients = {
          0.5, "the same, and ReLU and maxima let other values pass; another direction is 1 or more away"};
    }
    return tolerances;
  }
  return {.losses = {1e-3, "float32 rounds by 6e-8, and 17 layers with batch norm and a temperature of 0.1 enlarge it"},
          .statistics = {1e-4, "means and variances of activations in float32"},
          .gradients = Tolerance{0.05,
                                 "single gradients in float32 are 1 % off those in double; where ReLU or a maximum "
                                 "decides by rounding, more"}};
}

/// Of the same computation in parts.
StepTolerances parts_tolerances() {
  const char* const reason = "float32 rounds by 6e-8, and sums have another order";
  return {.losses = {1e-4, reason},
          .statistics = {0, "none moves: running statistics are used"},
          .gradients = Tolerance{1e-3, reason}};
}

/// Pairs of tensors, each compared by itself, or all of them as one.
class Pairs {
 public:
  Pairs(std::string title, Tolerance tolerance, bool joined)
      : title_(std::move(title)), tolerance_(std::move(tolerance)), joined_(joined) {}

  void add(const std::string& name, const Tensor& own, const Tensor& other, double floor) {
    if (!joined_) return figures_.push_back({title_ + " of " + name, error_of(own, other, true, floor), tolerance_});
    own_.push_back(own.detach().to(at::kCPU, at::kDouble).flatten());
    other_.push_back(other.detach().to(at::kCPU, at::kDouble).flatten());
  }
  std::vector<Figure> figures() const {
    if (!joined_ || own_.empty()) return figures_;
    return {{title_ + " of all parameters", error_of(at::cat(own_), at::cat(other_), true), tolerance_}};
  }

 private:
  const std::string title_;
  const Tolerance tolerance_;
  const bool joined_;
  std::vector<Figure> figures_;
  std::vector<Tensor> own_, other_;
};

/// The greatest errors of one step against another.
std::vector<Figure> compared(const Taken& own, const Taken& other, const StepTolerances& tolerances) {
  std::vector<Figure> figures;
  for (const auto& [name, value] : other.result.losses) {
    double error = INFINITY;
    for (const auto& [own_name, own_value] : own.result.losses) {
      if (own_name == name) error = std::abs(own_value - value) / std::max(std::abs(value), 1e-3);
    }
    figures.push_back({"loss " + name, error, tolerances.losses});
  }
  if (tolerances.gradients) {
    const double norm = other.result.gradient_norm;
    figures.push_back({"gradient's norm", std::abs(own.result.gradient_norm - norm) / norm, *tolerances.gradients});
  }
  double greatest = 0;
  for (const auto& [name, gradient] : other.result.gradients) greatest = std::max(greatest, magnitude(gradient));
  // Gradients that are 0 but for rounding, as those of biases before a norm, count by the greatest.
  const double floor = 0.01 * greatest;
  const Tolerance tolerance = tolerances.gradients.value_or(Tolerance{});
  Pairs gradients("gradient", tolerance, tolerances.joined), updates("update", tolerance, tolerances.joined);
  for (const auto& [name, gradient] : other.result.gradients) {
    const Tensor* const mine = find(own.result.gradients, name);
    if (mine != nullptr) {
      gradients.add(name, *mine, gradient, floor);
    } else {
      figures.push_back({"missing gradient of " + name, INFINITY, {}});
    }
  }
  for (const auto& [name, after] : other.after) {
    const Tensor *const before = find(other.before, name), *const mine = find(own.after, name),
                        *const mine_before = find(own.before, name);
    if (mine == nullptr || mine_before == nullptr) {
      figures.push_back({"missing " + name, INFINITY, {}});
    } else if (!after.is_floating_point()) {
      figures.push_back({name, error_of(*mine, after, false), {0, "a count is exact"}});
    } else if (find(other.result.gradients, name) != nullptr) {
      updates.add(name, mine->to(at::kDouble) - mine_before->to(at::kDouble),
                  after.to(at::kDouble) - before->to(at::kDouble), floor);
    } else {
      figures.push_back({name, error_of(*mine, after, true), tolerances.statistics});
    }
  }
  for (const Pairs* each : {&gradients, &updates}) {
    if (!tolerances.gradients) break;
    for (const Figure& figure : each->figures()) figures.push_back(figure);
  }
  return figures;
}

bool same(const core::NamedTensors& a, const core::NamedTensors& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].first != b[i].first || !at::equal(a[i].second.cpu(), b[i].second.cpu())) return false;
  }
  return true;
}

core::NamedTensors copies(const core::NamedTensors& all) {
  core::NamedTensors list;
  for (const auto& [name, tensor] : all) list.emplace_back(name, tensor.detach().clone());
  return list;
}

/// Steps on several batches. A GPU records the third of its kind, and repeats it from then on.
Check several(const std::string& name, const MethodCase& of, at::Device device) {
  constexpr uint64_t kSteps = 6;
  struct Run {
    std::vector<double> totals;
    Tensor moved;  // by all steps, of all parameters in a row
  };
  const auto run = [&](at::Device where, bool plain, double nudge = 0) {
    Model model(of, where);
    if (nudge > 0) model.nudge(nudge);
    StepOptions options = options_of(of, where, core::Precision::kFloat32, plain);
    options.keep_gradients = false;  // a recording hands out none
    options.optimizer.learning_rate = kShort * kCalm;
    const auto row = [&] {
      std::vector<Tensor> parts;
      for (const core::Parameter& each : model.localizer->parameters().all()) {
        if (each.trainable) parts.push_back(each.value.detach().to(at::kCPU, at::kDouble).flatten());
      }
      return at::cat(parts);
    };
    Run taken{{}, row()};
    for (uint64_t step = 0; step < kSteps; ++step) {
      const methods::Views batch = batch_of(*model.localizer, where, kSeed + step);
      taken.totals.push_back(model.state.step(batch, options).losses.back().second);
    }
    taken.moved = row() - taken.moved;
    return taken;
  };
  const Run own = run(device, /*plain=*/false), plain = run(at::kCPU, /*plain=*/true);
  const auto apart = [&](const Run& one, size_t step) {
    return std::abs(one.totals[step] - plain.totals[step]) / std::abs(plain.totals[step]);
  };
  Tolerance tolerance{0.01, "float32 rounds by 6e-8; each step enlarges what the ones before it left"};
  double most = 0;
  for (size_t i = 0; i < kSteps; ++i) most = std::max(most, apart(own, i));
  if (most > tolerance.most) {
    // A loss with hard choices jumps where rounding changes one. How far, the reference itself says, from weights that
    // differ by a few roundings.
    constexpr int kRuns = 6;
    constexpr double kNudge = 1e-6;
    double spread = 0;
    for (int i = 0; i < kRuns; ++i) {
      const Run other = run(at::kCPU, /*plain=*/true, kNudge);
      for (size_t step = 0; step < kSteps; ++step) spread = std::max(spread, apart(other, step));
    }
    tolerance = {std::clamp(2 * spread, 0.01, 0.1),
                 "twice as far as the reference moves when its weights change by 1e-6"};
  }
  std::vector<Figure> figures;
  for (size_t i = 0; i < kSteps; ++i) {
    figures.push_back({"total loss of step " + std::to_string(i + 1), apart(own, i), tolerance});
  }
  figures.push_back({"movement of all parameters", error_of(own.moved, plain.moved, true), {0.1, tolerance.reason}});
  return {.name = name, .figures = std::move(figures), .message = {}};
}

/// After good steps, the last of which a GPU repeats from a recording, one whose batch holds a value that is not a
/// number.
Check without_number(const std::string& name, const MethodCase& of, at::Device device, core::Precision precision) {
  Model model(of, device);
  StepOptions options = options_of(of, device, precision, /*plain=*/false);
  options.keep_gradients = false;
  options.optimizer.learning_rate = kShort * kCalm;
  for (int i = 0; i < kGoodSteps; ++i) model.state.step(model.views, options);
  const core::NamedTensors before = model.values(), moments = copies(model.state.state());
  methods::Views spoiled = model.views;
  spoiled.pairs.spectrograms = spoiled.pairs.spectrograms.clone();
  spoiled.pairs.spectrograms.select(0, kBatch - 1).fill_(NAN);
  std::string code = "none";
  try {
    model.state.step(spoiled, options);
  } catch (const Error& error) {
    code = error.code();
  }
  const auto flag = [](const std::string& what, bool right) {
    return Figure{what, right ? 0.0 : 1.0, {0, "a step that is not taken changes nothing"}};
  };
  std::vector<Figure> figures{flag("an error other than ERR_INTERNAL", code == "ERR_INTERNAL"),
                              flag("parameters or statistics that changed", same(before, model.values())),
                              flag("optimizer's state that changed", same(moments, copies(model.state.state())))};
  const double total = model.state.step(model.views, options).losses.back().second;
  figures.push_back(flag("no step after it", std::isfinite(total) && !same(before, model.values())));
  return {.name = name, .figures = std::move(figures), .message = {}};
}

/// The losses and gradients of a batch in parts are those of the whole.
Check in_parts(const std::string& name, const MethodCase& of, at::Device device) {
  // By running statistics: those of a batch are of its parts otherwise.
  StepOptions options = options_of(of, device, core::Precision::kFloat32, /*plain=*/false);
  options.frozen_statistics = true;
  Model whole(of, device), parts(of, device);
  const Taken expected = take(whole, options);
  options.micro_batch = 3;
  return {.name = name, .figures = compared(take(parts, options), expected, parts_tolerances()), .message = {}};
}

/// How the steps are taken that are compared.
struct Variant {
  core::Precision precision = core::Precision::kFloat32;
  double clip = 0;
  bool coupled = false, frozen = false;
};

Check against_cpu(const std::string& name, const MethodCase& of, at::Device device, const Variant& variant) {
  const auto run = [&](at::Device where, core::Precision how, bool plain) {
    Model model(of, where);
    StepOptions options = options_of(of, where, how, plain);
    options.clip = variant.clip;
    options.optimizer.coupled = variant.coupled;
    options.frozen_statistics = variant.frozen;
    return take(model, options);
  };
  const Taken own = run(device, variant.precision, /*plain=*/false);
  const Taken plain = run(at::kCPU, core::Precision::kFloat32, /*plain=*/true);
  return {
      .name = name, .figures = compared(own, plain, tolerances_of(variant.precision, variant.frozen)), .message = {}};
}

}  // namespace

void verify_steps(at::Device device, Report& report) {
  std::set<std::string> left;
  for (const auto& [name, factory] : methods::registry()) left.insert(name);
  uint64_t seed = 4000;
  for (const MethodCase& of : method_cases()) {
    left.erase(of.name);
    using core::Precision;
    const auto step = [&](const std::string& how, const Variant& variant) {
      const std::string name = of.name + ", " + how;
      attempt(report, name, ++seed, [&] { return against_cpu(name, of, device, variant); });
    };
    step("float32", {});
    step("float32, clipped, Adam", {.clip = 0.5, .coupled = true});
    step("float32, running statistics", {.frozen = true});
    const std::string six = of.name + ", six steps";
    attempt(report, six, ++seed, [&] { return several(six, of, device); });
    const std::string parts = of.name + ", in parts of 3 samples";
    attempt(report, parts, ++seed, [&] { return in_parts(parts, of, device); });
    const bool half = device.is_cpu() || core::multiplies(device, Precision::kBFloat16);
    if (half) {
      step("bfloat16", {.precision = Precision::kBFloat16});
      step("bfloat16, running statistics", {.precision = Precision::kBFloat16, .frozen = true});
    } else {
      report.note("bfloat16 is left out: the device does not multiply it.");
    }
    attempt(report, of.name, ++seed, [&] {
      return without_number(of.name + ", a loss that is not a number", of, device,
                            half ? Precision::kBFloat16 : Precision::kFloat32);
    });
  }
  for (const std::string& name : left) {
    report.add(Check{.name = name, .figures = {}, .message = "verify/methods.cc has no case of this method"});
  }
}

}  // namespace soundspot::verify
