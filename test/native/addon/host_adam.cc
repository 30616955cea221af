// The gradients' norm and the optimizers' step.
#include <limits>

#include "host_kernels.h"
#include "kernels/cuda/adam_function.h"

namespace soundspot::testing {
namespace {

using kernels::cuda::Host;

/// `tensors` parameters of random sizes over `steps` steps. Where `spoiled` is not 0 its step has a gradient (1) or a
/// loss (2) that is not finite, and must change nothing.
Comparisons adam(const Case& of) {
  const kernels::AdamNumbers numbers{0.9, 0.999, 1e-8, 0.05, of.flag("coupled")};
  const double clip = static_cast<double>(of.of("clip")) / 10;
  const int64_t steps = of.of("steps"), kind = of.of("spoiled");
  kernels::AdamState state;
  std::vector<Tensor> values, means, squares;
  for (int64_t i = 0; i < of.of("tensors"); ++i) {
    Tensor value;
    if (i % 3 == 1) {
      const int64_t side = i % 2 == 0 ? 3 : 1;
      value = at::randn({3 + i % 5, 1 + i % 7, side, side}).contiguous(at::MemoryFormat::ChannelsLast);
    } else if (i % 3 == 2) {
      value = at::randn({static_cast<int64_t>(at::randint(1, of.of("most"), {1}).item<int64_t>())});
    } else {
      value = at::randn({4 * (i + 1), 8});
    }
    values.push_back(value.to(at::kDouble));
    means.push_back(at::zeros_like(values.back()));
    squares.push_back(at::zeros_like(values.back()));
    state.values.push_back(value);
    // As read from a checkpoint: other strides than the parameter's where a dimension has one place.
    const auto restored = [&] {
      return at::zeros_like(value, value.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
    };
    state.means.push_back(restored());
    state.squares.push_back(restored());
    state.steps.push_back(at::zeros({}));
  }
  Comparisons list;
  int64_t taken = 0;
  for (int64_t step = 0; step < steps; ++step) {
    state.gradients.clear();
    const double rate = 0.01 / static_cast<double>(step + 1);
    double squared = 0;
    for (const Tensor& value : state.values) {
      // Of any magnitude: AdamW does not see it, squares in float would.
      state.gradients.push_back(at::randn_like(value) * (of.flag("great") ? 1e21F : 1.0F));
      squared += state.gradients.back().to(at::kDouble).pow(2).sum().item<double>();
    }
    const bool spoiled = kind != 0 && step + 1 == steps;
    Tensor losses = at::full({}, 1.5F);
    if (spoiled && kind == 1) state.gradients.front().view(-1)[-1] = std::numeric_limits<float>::infinity();
    if (spoiled && kind == 2) losses.fill_(std::numeric_limits<float>::quiet_NaN());
    const auto norm = kernels::cuda::gradient_norm_by<Host>(state.gradients, clip, losses);
    kernels::cuda::adam_step_by<Host>(state, numbers, at::full({}, static_cast<float>(rate)), norm.finite,
                                      clip > 0 ? norm.divisor : Tensor());
    list.push_back({"finite", norm.finite, at::full({}, spoiled ? 0.0 : 1.0)});
    const double length = std::sqrt(squared), factor = clip > 0 && length > clip ? clip / length : 1;
    if (spoiled) continue;
    ++taken;
    list.push_back({"norm", norm.norm, at::full({1}, length, at::kDouble)});
    list.push_back({"divisor", norm.divisor, at::full({}, 1 / factor, at::kDouble)});
    for (size_t i = 0; i < values.size(); ++i) {
      Tensor gradient = state.gradients[i].to(at::kDouble) * factor;
      if (numbers.coupled) {
        gradient = gradient + numbers.weight_decay * values[i];
      } else {
        values[i].mul_(1 - rate * numbers.weight_decay);
      }
      means[i].mul_(numbers.beta1).add_(gradient, 1 - numbers.beta1);
      squares[i].mul_(numbers.beta2).addcmul_(gradient, gradient, 1 - numbers.beta2);
      const double own = static_cast<double>(taken), mean_bias = 1 - std::pow(numbers.beta1, own),
                   square_bias = 1 - std::pow(numbers.beta2, own);
      values[i].sub_(rate * (means[i] / mean_bias) / ((squares[i] / square_bias).sqrt() + numbers.epsilon));
    }
  }
  const auto flat = [](const std::vector<Tensor>& all) {
    std::vector<Tensor> parts;
    for (const Tensor& each : all) parts.push_back(each.reshape({-1}));
    return at::cat(parts);
  };
  list.push_back({"values", flat(state.values), flat(values)});
  list.push_back({"means", flat(state.means), flat(means)});
  list.push_back({"squares", flat(state.squares), flat(squares)});
  list.push_back(
      {"steps", flat(state.steps), at::full({static_cast<int64_t>(values.size())}, static_cast<double>(taken))});
  return list;
}

const RegisterComparison registered("adam", adam);

}  // namespace
}  // namespace soundspot::testing
