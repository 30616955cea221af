// The gradients' norm, and steps of Adam and AdamW, or none where a number is not finite.
#include <cmath>

#include "verify/problem.h"

namespace soundspot::verify {
namespace {

enum class Spoiled { kNothing, kGradient, kLoss };

struct Plan {
  int64_t tensors, most, steps;
  bool coupled;
  double clip;
  Spoiled spoiled;  // in the last step
};

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kSmall = 1e-8, kDecay = 0.05;

double rate(int64_t step) { return static_cast<double>(static_cast<float>(0.01 / static_cast<double>(step + 1))); }

/// Parameters of the orders of memory that a model has.
std::vector<Tensor> drawn_values(const Plan& plan) {
  std::vector<Tensor> values;
  for (int64_t i = 0; i < plan.tensors; ++i) {
    const int64_t side = i % 2 == 0 ? 3 : 1, length = 1 + (i * 7919 + 13) % plan.most;
    values.push_back(i % 3 == 0   ? at::randn({length})
                     : i % 3 == 1 ? at::randn({3 + i % 5, 1 + i % 7, side, side})
                                  : at::randn({4 * (i + 1), 8}));
  }
  return values;
}

Tensor laid_out(const Tensor& x) {
  return x.dim() == 4 ? x.contiguous(at::MemoryFormat::ChannelsLast) : x.contiguous();
}

Tensor joined(const std::vector<Tensor>& all) {
  std::vector<Tensor> parts;
  for (const Tensor& each : all) parts.push_back(each.reshape({-1}));
  return at::cat(parts);
}

std::vector<Output> outputs(const std::vector<Tensor>& values, const std::vector<Tensor>& means,
                            const std::vector<Tensor>& squares, const Tensor& counts, const Tensor& norms,
                            const Tensor& divisors, const Tensor& finite) {
  return {{"values", joined(values)}, {"means", joined(means)}, {"squares", joined(squares)},
          {"counts", counts},         {"norms", norms},         {"divisors", divisors},
          {"finite", finite}};
}

Check optimizer(const std::string& name, const Subject& subject, const Plan& plan) {
  const auto count = static_cast<size_t>(plan.tensors);
  Problem problem;
  const std::vector<Tensor> values = drawn_values(plan);
  for (size_t i = 0; i < count; ++i) problem.inputs.emplace_back("value", laid_out(values[i]), at::kFloat, false);
  for (int64_t step = 0; step < plan.steps; ++step) {
    for (size_t i = 0; i < count; ++i) {
      problem.inputs.emplace_back("gradient", laid_out(at::randn_like(values[i])), at::kFloat, false);
    }
  }
  problem.float32 = float32_tolerance();
  const auto gradient_at = [=](int64_t step, size_t i) { return count * static_cast<size_t>(1 + step) + i; };
  const auto spoiled_at = [=](int64_t step) { return plan.spoiled != Spoiled::kNothing && step + 1 == plan.steps; };

  problem.exact = [=](const std::vector<Tensor>& in) {
    std::vector<Tensor> own(in.begin(), in.begin() + static_cast<int64_t>(count)), means, squares, norms, divisors,
        finite;
    for (const Tensor& value : own) {
      means.push_back(at::zeros_like(value));
      squares.push_back(at::zeros_like(value));
    }
    double taken = 0;
    for (int64_t step = 0; step < plan.steps; ++step) {
      finite.push_back(at::full({1}, !spoiled_at(step), at::kBool));
      if (spoiled_at(step)) break;
      double squared = 0;
      for (size_t i = 0; i < count; ++i) squared += in[gradient_at(step, i)].pow(2).sum().item<double>();
      const double norm = std::sqrt(squared), divisor = plan.clip > 0 ? std::max(1.0, norm / plan.clip) : 1;
      norms.push_back(at::full({1}, norm, at::kDouble));
      divisors.push_back(at::full({1}, divisor, at::kDouble));
      ++taken;
      for (size_t i = 0; i < count; ++i) {
        Tensor gradient = in[gradient_at(step, i)] / divisor;
        if (plan.coupled) {
          gradient = gradient + kDecay * own[i];
        } else {
          own[i].mul_(1 - rate(step) * kDecay);
        }
        means[i].mul_(kBeta1).add_(gradient, 1 - kBeta1);
        squares[i].mul_(kBeta2).addcmul_(gradient, gradient, 1 - kBeta2);
        const Tensor deviation = (squares[i] / (1 - std::pow(kBeta2, taken))).sqrt() + kSmall;
        own[i].sub_(rate(step) * (means[i] / (1 - std::pow(kBeta1, taken))) / deviation);
      }
    }
    return outputs(own, means, squares, at::full({plan.tensors}, taken, at::kDouble), at::cat(norms), at::cat(divisors),
                   at::cat(finite));
  };

  const Kernels& kernels = subject.kernels;
  problem.own = [=, &kernels](const std::vector<Tensor>& in) {
    kernels::AdamState state;
    const auto options = in.front().options();
    for (size_t i = 0; i < count; ++i) {
      state.values.push_back(in[i]);
      state.means.push_back(at::zeros_like(in[i]));
      state.squares.push_back(at::zeros_like(in[i]));
      state.steps.push_back(at::zeros({}, options));
    }
    std::vector<Tensor> norms, divisors, finite;
    for (int64_t step = 0; step < plan.steps; ++step) {
      state.gradients.clear();
      for (size_t i = 0; i < count; ++i) state.gradients.push_back(in[gradient_at(step, i)]);
      Tensor losses = at::full({}, 1.5F, options);
      const bool spoiled = spoiled_at(step);
      if (spoiled && plan.spoiled == Spoiled::kGradient) state.gradients.back().select(0, 0).fill_(INFINITY);
      if (spoiled && plan.spoiled == Spoiled::kLoss) losses.fill_(NAN);
      const auto norm = kernels.gradient_norm(state.gradients, plan.clip, losses);
      kernels.adam_step(state, {kBeta1, kBeta2, kSmall, kDecay, plan.coupled},
                        at::full({}, static_cast<float>(rate(step)), options), norm.finite,
                        plan.clip > 0 ? norm.divisor : Tensor());
      finite.push_back(norm.finite.reshape({1}));
      if (spoiled) continue;
      norms.push_back(norm.norm);
      divisors.push_back(norm.divisor.reshape({1}));
    }
    return outputs(state.values, state.means, state.squares, joined(state.steps), at::cat(norms), at::cat(divisors),
                   at::cat(finite));
  };
  return verify(name, problem, subject.device);
}

}  // namespace

void verify_optimizer(const Subject& subject, Report& report) {
  uint64_t seed = 3000;
  // More tensors than one launch takes, and ones of several blocks.
  std::vector<std::pair<int64_t, int64_t>> sizes{{1, 10}, {7, 5000}, {131, 300}};
  if (!subject.small) sizes.insert(sizes.end(), {{62, 2'400'000}, {300, 20'000}});
  for (const auto& [tensors, most] : sizes) {
    for (const bool coupled : {false, true}) {
      for (const double clip : {0.0, 2.0}) {
        for (const Spoiled spoiled : {Spoiled::kNothing, Spoiled::kGradient, Spoiled::kLoss}) {
          const std::string name = std::string(coupled ? "Adam" : "AdamW") + ", " + std::to_string(tensors) +
                                   " tensors of up to " + std::to_string(most) + (clip > 0 ? ", clipped" : "") +
                                   (spoiled == Spoiled::kGradient ? ", not taken for a gradient"
                                    : spoiled == Spoiled::kLoss   ? ", not taken for a loss"
                                                                  : "");
          attempt(report, name, ++seed, [&] {
            return optimizer(name, subject, {tensors, most, /*steps=*/3, coupled, clip, spoiled});
          });
        }
      }
    }
  }
}

}  // namespace soundspot::verify
