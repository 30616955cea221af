#include "verify/timings.h"

#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDACachingAllocator.h>

#include <algorithm>
#include <cmath>

#include "core/precision.h"
#include "core/transfer.h"
#include "training/step.h"
#include "verify/images.h"
#include "verify/reference.h"
#include "verify/steps.h"

namespace soundspot::verify {
namespace {

using Work = std::function<void()>;

constexpr int kWarmUp = 5, kRuns = 30, kSteps = 8;

/// Milliseconds of each run, on the GPU's clock.
std::vector<double> measured(const Work& work, int runs) {
  const auto stream = at::cuda::getCurrentCUDAStream();
  std::vector<double> all;
  for (int i = 0; i < runs; ++i) {
    at::cuda::CUDAEvent begin(cudaEventDefault), end(cudaEventDefault);
    begin.record(stream);
    work();
    end.record(stream);
    end.synchronize();
    all.push_back(begin.elapsed_time(end));
  }
  return all;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Both in turns, so that a GPU that changes its clock does so for both.
void compare(Report& report, const std::string& name, const std::string& against, const Work& own, const Work& other,
             int runs = kRuns) {
  try {
    measured(own, kWarmUp);
    measured(other, kWarmUp);
    std::vector<double> ours, theirs;
    constexpr int kTurns = 2;
    for (int turn = 0; turn < kTurns; ++turn) {
      for (const double each : measured(own, runs / kTurns)) ours.push_back(each);
      for (const double each : measured(other, runs / kTurns)) theirs.push_back(each);
    }
    report.add(Timing{name, median(ours), median(theirs), against, runs});
  } catch (const c10::OutOfMemoryError&) {
    report.note(name + ": not measured, for want of memory");
  } catch (const std::exception& error) {
    report.add(Check{.name = name, .figures = {}, .message = error.what()});
  }
  c10::cuda::CUDACachingAllocator::emptyCache();
}

/// `forward` alone without gradients, and with the gradients of `inputs`.
struct Pass {
  std::function<Tensor()> forward;
  std::vector<Tensor> inputs;

  Work alone() const {
    return [own = *this] {
      const at::NoGradGuard no_grad;
      own.forward();
    };
  }
  Work both() const {
    return [own = *this] {
      const Tensor y = own.forward();
      torch::autograd::grad({y}, own.inputs, {at::ones_like(y)}, /*retain_graph=*/false, /*create_graph=*/false,
                            /*allow_unused=*/true);
    };
  }
};

void compare_passes(Report& report, const std::string& name, const Pass& own, const Pass& other) {
  const char* const against = "LibTorch's operators";
  compare(report, name + ", forward", against, own.alone(), other.alone());
  compare(report, name + ", forward + backward", against, own.both(), other.both());
}

Tensor leaf(const Tensor& x) { return x.detach().set_requires_grad(true); }

void time_batch_norm(const Subject& subject, Report& report, int64_t batch) {
  const auto options = at::device(subject.device).dtype(at::kFloat);
  const std::pair<int64_t, int64_t> stages[] = {{64, 112}, {64, 56}, {128, 28}, {256, 14}, {512, 7}};
  for (const auto& [channels, side] : stages) {
    try {
      const auto drawn = [&] {
        return leaf(at::randn({batch, channels, side, side}, options)
                        .to(at::kBFloat16)
                        .contiguous(at::MemoryFormat::ChannelsLast));
      };
      const Tensor x = drawn(), residual = side < 112 ? drawn() : Tensor(),
                   weight = leaf(at::ones({channels}, options)), bias = leaf(at::zeros({channels}, options)),
                   mean = at::zeros({channels}, options), variance = at::ones({channels}, options);
      std::vector<Tensor> inputs{x, weight, bias};
      if (residual.defined()) inputs.push_back(residual);
      const Kernels& kernels = subject.kernels;
      const Pass own{[=, &kernels] {
                       return kernels.batch_norm(
                           x, {weight, bias, mean, variance, reference::kMomentum, reference::kEpsilon, {}}, residual,
                           /*relu=*/true, /*fixed=*/false);
                     },
                     inputs};
      const Pass other{
          [=] { return reference::batch_norm(x, weight, bias, mean, variance, residual, /*relu=*/true, false); },
          inputs};
      compare_passes(report,
                     "batch norm" + std::string(residual.defined() ? " + residual" : "") + " + ReLU [" +
                         std::to_string(batch) + ", " + std::to_string(channels) + ", " + std::to_string(side) + ", " +
                         std::to_string(side) + "] bfloat16",
                     own, other);
    } catch (const c10::OutOfMemoryError&) {
      report.note("batch norm at batch " + std::to_string(batch) + ": not measured, for want of memory");
    }
  }
}

void time_slots(const Subject& subject, Report& report, int64_t batch) {
  constexpr int64_t kDim = 512, kHidden = 1024, kSlots = 2, kIterations = 5;
  const auto options = at::device(subject.device).dtype(at::kFloat);
  const auto linear = [&](int64_t out, int64_t in) {
    return kernels::Linear{leaf(at::randn({out, in}, options) / std::sqrt(static_cast<double>(in))),
                           leaf(at::randn({out}, options))};
  };
  const auto norm = [&] { return kernels::Linear{leaf(at::ones({kDim}, options)), leaf(at::zeros({kDim}, options))}; };
  const kernels::SlotAttentionWeights weights{linear(kDim, kDim),
                                              linear(kDim, kDim),
                                              linear(kDim, kDim),
                                              linear(3 * kDim, kDim),
                                              linear(3 * kDim, kDim),
                                              linear(kHidden, kDim),
                                              linear(kDim, kHidden),
                                              norm(),
                                              norm()};
  const kernels::JoinedSlotWeights joined = subject.kernels.join(weights);
  const Kernels& kernels = subject.kernels;
  for (const int64_t count : {49, 16}) {
    const Tensor tokens = leaf(at::randn({batch, count, kDim}, options)),
                 initial = leaf(at::randn({kSlots, kDim}, options)),
                 queries = leaf(at::randn({batch, kSlots, kDim}, options));
    std::vector<Tensor> inputs{tokens, initial};
    for (const kernels::Linear* each :
         {&weights.query, &weights.key, &weights.value, &weights.input_gates, &weights.hidden_gates, &weights.first,
          &weights.second, &weights.slot_norm, &weights.mlp_norm}) {
      inputs.push_back(each->weight);
      inputs.push_back(each->bias);
    }
    const std::string sizes = ", batch " + std::to_string(batch) + ", " + std::to_string(count) + " tokens";
    compare_passes(
        report, "slot attention" + sizes,
        {[=, &kernels] { return kernels.slot_attention(tokens, initial, weights, kIterations, false, nullptr).slots; },
         inputs},
        {[=] { return reference::slot_attention(tokens, initial, weights, kIterations).slots; }, inputs});
    const Pass by_joined{
        [=, &kernels] { return kernels.slot_attention(tokens, initial, weights, kIterations, false, &joined).slots; },
        {}};
    const Pass plain{[=] { return reference::slot_attention(tokens, initial, weights, kIterations).slots; }, {}};
    compare(report, "slot attention by joined weights" + sizes + ", forward", "LibTorch's operators", by_joined.alone(),
            plain.alone());
    compare_passes(
        report, "cross attention" + sizes,
        {[=, &kernels] { return kernels.cross_attention(queries, tokens, weights.key, false, 1); },
         {queries, tokens, weights.key.weight, weights.key.bias}},
        {[=] { return reference::attention(queries, at::linear(tokens, weights.key.weight, weights.key.bias)); },
         {queries, tokens, weights.key.weight, weights.key.bias}});
  }
  const auto attention = [&](int64_t count) { return leaf(at::rand({batch, kSlots, count}, options)); };
  const Tensor a = attention(49), b = attention(49), c = attention(16), d = attention(16);
  compare_passes(report, "matching, batch " + std::to_string(batch),
                 {[=, &kernels] { return kernels.matching(a, b, c, d, 1); }, {a, c}},
                 {[=] { return reference::matching(a, b, c, d, 1); }, {a, c}});
  const Tensor rows = at::rand({batch, 1, 49}, options);
  compare(
      report, "heatmap of side 7 to 224 x 224, batch " + std::to_string(batch), "LibTorch's operators",
      [=, &kernels] { kernels.heatmap(rows, 7, 224, 224, {}, std::nullopt, std::nullopt); },
      [=] { reference::heatmap(rows, 7, 224, 224, {}, std::nullopt); });
}

/// The paper's model.
encoders::ModelConfig paper_model() {
  encoders::ModelConfig config;
  const MethodCase of = method_cases().front();
  config.method = {of.name, of.numbers};
  config.method.numbers["mlpHidden"] = static_cast<double>(2 * config.dim);
  config.method.numbers["decoderHidden"] = static_cast<double>(config.dim);
  return config;
}

void time_optimizer(const Subject& subject, Report& report) {
  const at::NoGradGuard no_grad;
  const methods::Localizer localizer(paper_model(), 1, subject.device);
  kernels::AdamState state;
  for (const core::Parameter& parameter : localizer.parameters().all()) {
    if (!parameter.trainable) continue;
    const Tensor value = parameter.value.detach();
    state.values.push_back(value);
    state.gradients.push_back(at::randn_like(value));
    state.means.push_back(at::zeros_like(value));
    state.squares.push_back(at::zeros_like(value));
    state.steps.push_back(at::ones({}, value.options()));
  }
  const auto options = at::device(subject.device).dtype(at::kFloat);
  const Tensor losses = at::ones({}, options), rate = at::full({}, 1e-6F, options), none = at::zeros({}, options);
  const Kernels& kernels = subject.kernels;
  const std::string size = " of the paper's model, " + std::to_string(state.values.size()) + " tensors";
  const auto plain_norm = [=] {
    return at::stack(at::_foreach_norm(state.gradients, 2)).to(at::kDouble).pow_(2).sum(0, true).sqrt_();
  };
  compare(
      report, "gradient's norm" + size, "LibTorch's _foreach_norm",
      [=, &kernels] { kernels.gradient_norm(state.gradients, 1, losses); },
      [=] {
        const Tensor norm = plain_norm();
        norm.clamp_min(1).to(at::kFloat);
        at::isfinite(norm).logical_and(at::isfinite(losses)).all();
      });
  const kernels::AdamNumbers numbers{0.9, 0.999, 1e-8, 0.01, /*coupled=*/false};
  const Tensor taken = at::ones({}, options.dtype(at::kBool)), divisor = at::ones({}, options);
  compare(
      report, "AdamW's step" + size, "LibTorch's fused AdamW",
      [=, &kernels] { kernels.adam_step(state, numbers, rate, taken, divisor); },
      [=] {
        at::_foreach_add_(state.steps, 1);
        at::_fused_adamw_(state.values, state.gradients, state.means, state.squares, at::TensorList(), state.steps,
                          1e-6, 0.9, 0.999, 0.01, 1e-8, /*amsgrad=*/false, /*maximize=*/false, divisor, none);
      });
}

void time_step(const Subject& subject, Report& report, int64_t batch, core::Precision precision) {
  const std::string name =
      "training step of the paper's model, batch " + std::to_string(batch) + ", " + core::name_of(precision);
  try {
    const encoders::ModelConfig config = paper_model();
    const auto localizer = std::make_shared<methods::Localizer>(config, 1, subject.device);
    training::TrainingState own(localizer, 1);
    const auto options = at::device(subject.device).dtype(at::kFloat);
    const methods::Views views{{at::randn({batch, 3, config.image_size, config.image_size}, options),
                                at::randn({batch, 1, config.frequency_bins(), config.frames()}, options)},
                               {}};
    const auto work = [&](bool plain) -> Work {
      return [&, plain] {
        training::StepOptions step;
        // So small that the model stays where it is.
        step.optimizer.learning_rate = 1e-8;
        step.losses = method_cases().front().losses;
        step.compute = {subject.device, precision};
        step.plain = plain;
        own.step(views, step);
      };
    };
    compare(report, name, "the plain pass", work(false), work(true), kSteps);
  } catch (const c10::OutOfMemoryError&) {
    report.note(name + ": not measured, for want of memory");
  }
  c10::cuda::CUDACachingAllocator::emptyCache();
}

/// Squares and their changes copied and augmented, against images that the CPU has augmented.
void time_augment(const Subject& subject, Report& report, int64_t batch) {
  signal::ImageAugmentation options;
  options.crop = signal::Crop::kWhole;
  const ImageBatch images = drawn_images(batch, options, 1);
  const auto ready = [](const Tensor& x) { return x.pin_memory(); };
  const Tensor squares = ready(images.squares), changes = ready(images.changes), floats = ready(images.expected);
  const Kernels& kernels = subject.kernels;
  const at::Device device = subject.device;
  compare(
      report, "augmentation of " + std::to_string(batch) + " images, with their copy", "a copy of what the CPU makes",
      [&] { kernels.augment(core::to_device(squares, device), core::to_device(changes, device)); },
      [&] { core::to_device(floats, device); });
}

}  // namespace

void time_kernels(const Subject& subject, Report& report) {
  at::manual_seed(1);
  for (const int64_t batch : {8, 64, 256}) {
    time_batch_norm(subject, report, batch);
    time_slots(subject, report, batch);
    time_augment(subject, report, batch);
  }
  time_optimizer(subject, report);
  const core::Precision precision = core::computed(core::Precision::kBFloat16, subject.device);
  for (const int64_t batch : {64, 256}) time_step(subject, report, batch, precision);
}

}  // namespace soundspot::verify
