#include "verify/problem.h"

#include <cmath>

namespace soundspot::verify {

namespace {

/// Share of the greatest gradient that the others are compared with besides their own size. One whose terms cancel,
/// such as that of a bias of keys, has the rounding of its terms: LibTorch's own operators have it too.
constexpr double kCancelled = 0.01;
constexpr double kSmallest = 1e-6;

struct Results {
  std::vector<Output> outputs;
  std::vector<Tensor> gradients;  // of the inputs, in their order; undefined where there is none
};

std::vector<Tensor> leaves(const std::vector<Input>& inputs, at::Device device, bool exact) {
  std::vector<Tensor> list;
  for (const Input& input : inputs) {
    // A copy: computations may write to their inputs.
    const Tensor leaf = input.value.to(device, exact ? at::kDouble : input.type, /*non_blocking=*/false, /*copy=*/true);
    list.push_back(input.differentiable ? leaf.set_requires_grad(true) : leaf);
  }
  return list;
}

/// Weights of the outputs in the sum that is differentiated: numbers that every type has.
std::vector<Tensor> drawn_weights(const std::vector<Output>& outputs) {
  std::vector<Tensor> weights;
  for (const Output& output : outputs) {
    Tensor own = at::randn(output.value.sizes()).to(at::kBFloat16).to(at::kDouble);
    if (output.counted.defined()) own = own * output.counted.to(at::kCPU);
    weights.push_back(own);
  }
  return weights;
}

void differentiate(Results& results, const std::vector<Tensor>& inputs, const std::vector<Tensor>& weights) {
  Tensor sum;
  for (size_t i = 0; i < results.outputs.size(); ++i) {
    const Tensor& value = results.outputs[i].value;
    if (!value.requires_grad()) continue;
    const at::ScalarType type = value.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const Tensor term = (value.to(type) * weights[i].to(value.device(), type)).sum();
    sum = sum.defined() ? sum + term : term;
  }
  if (sum.defined()) sum.backward();
  for (const Tensor& input : inputs) results.gradients.push_back(input.grad());
}

bool same(const Tensor& a, const Tensor& b) {
  if (a.defined() != b.defined()) return false;
  if (!a.defined()) return true;
  const auto bytes = [](const Tensor& x) { return x.detach().to(at::kCPU).contiguous().flatten().view(at::kByte); };
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() && at::equal(bytes(a), bytes(b));
}

}  // namespace

Input::Input(std::string given, const Tensor& unrounded, at::ScalarType as, bool gradient)
    : name(std::move(given)), value(unrounded.to(as).to(at::kDouble)), type(as), differentiable(gradient) {}

double magnitude(const Tensor& x) {
  return x.numel() == 0 ? 0 : std::sqrt(x.detach().to(at::kDouble).pow(2).mean().item<double>());
}

double error_of(const Tensor& own, const Tensor& expected, bool by_length, double floor) {
  if (!own.defined() || !expected.defined() || own.sizes() != expected.sizes()) return INFINITY;
  if (own.numel() == 0) return 0;
  const Tensor one = own.detach().to(at::kCPU, at::kDouble), other = expected.detach().to(at::kCPU, at::kDouble);
  if (!at::equal(at::isfinite(one), at::isfinite(other))) return INFINITY;
  // Where neither is finite both are the same, or an error.
  const Tensor apart = at::where(one == other, at::zeros({}, at::kDouble), (one - other).abs());
  const double size = magnitude(other) + floor + kSmallest;
  const double error = by_length ? magnitude(apart) / size : (apart / (other.abs() + size)).max().item<double>();
  return std::isfinite(error) ? error : INFINITY;
}

Check verify(const std::string& name, const Problem& problem, at::Device device) {
  Results exact, own, again;
  const std::vector<Tensor> of_exact = leaves(problem.inputs, at::kCPU, /*exact=*/true);
  exact.outputs = problem.exact(of_exact);
  const std::vector<Tensor> weights = drawn_weights(exact.outputs);
  differentiate(exact, of_exact, weights);
  for (Results* each : {&own, &again}) {
    const std::vector<Tensor> of_own = leaves(problem.inputs, device, /*exact=*/false);
    each->outputs = problem.own(of_own);
    TORCH_CHECK(each->outputs.size() == exact.outputs.size(), "other outputs than expected");
    differentiate(*each, of_own, weights);
  }

  Check check{.name = name, .figures = {}, .message = {}};
  bool repeats = true;
  const auto compare = [&](const std::string& of, const Tensor& one, const Tensor& other, double floor) {
    const bool whole = one.defined() && !one.is_floating_point();
    const Tolerance tolerance = whole ? Tolerance{0, "flags and counts are exact"}
                                : one.defined() && one.scalar_type() == at::kBFloat16 ? problem.bfloat16
                                                                                      : problem.float32;
    check.figures.push_back({of, error_of(one, other, problem.by_length, floor), tolerance});
  };
  for (size_t i = 0; i < exact.outputs.size(); ++i) {
    TORCH_CHECK(own.outputs[i].name == exact.outputs[i].name, "other outputs than expected");
    compare(exact.outputs[i].name, own.outputs[i].value, exact.outputs[i].value, 0);
    repeats = repeats && same(own.outputs[i].value, again.outputs[i].value);
  }
  double greatest = 0;
  for (const Tensor& gradient : exact.gradients) {
    if (gradient.defined()) greatest = std::max(greatest, magnitude(gradient));
  }
  for (size_t i = 0; i < problem.inputs.size(); ++i) {
    repeats = repeats && same(own.gradients[i], again.gradients[i]);
    // An input that the exact result does not depend on may have a gradient of zeros, or none.
    const Tensor& expected = exact.gradients[i];
    if (!expected.defined() && !own.gradients[i].defined()) continue;
    compare("gradient of " + problem.inputs[i].name, own.gradients[i],
            expected.defined() ? expected : at::zeros(problem.inputs[i].value.sizes(), at::kDouble),
            kCancelled * greatest);
  }
  check.figures.push_back({"bits that differ when it is repeated",
                           repeats ? 0.0 : 1.0,
                           {0, "sums have one order, whatever the order of threads and blocks"}});
  return check;
}

Tolerance float32_tolerance() {
  return {5e-5,
          "float32 rounds by 6e-8; sums of up to 100,000 products in blocks lose up to three digits in the worst "
          "number"};
}

Tolerance bfloat16_tolerance() { return {4e-3, "a result is rounded once to bfloat16, by 2^-8 of its value at most"}; }

void attempt(Report& report, const std::string& name, uint64_t seed, const std::function<Check()>& work) {
  at::manual_seed(seed);
  try {
    report.add(work());
  } catch (const std::exception& error) {
    const std::string message = error.what();
    report.add(Check{.name = name, .figures = {}, .message = message.substr(0, message.find('\n'))});
  }
}

}  // namespace soundspot::verify
