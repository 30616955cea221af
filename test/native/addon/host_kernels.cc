// hostKernel({ kernel, seed, … }) for tests: the figures of every comparison.
#include "host_kernels.h"

#include <algorithm>
#include <cmath>

#include "binding/functions.h"

namespace soundspot::testing {

std::map<std::string, Compare>& comparisons() {
  static std::map<std::string, Compare> all;
  return all;
}

void compare_all(Comparisons& list, const std::vector<std::pair<std::string, std::pair<Tensor, Tensor>>>& results,
                 const std::vector<std::pair<std::string, Leaf>>& leaves) {
  Tensor own = at::zeros({}), exact = at::zeros({}, at::kDouble);
  for (const auto& [name, pair] : results) {
    const auto& [one, other] = pair;
    list.push_back({name, one.detach(), other.detach()});
    // Weights that both types hold exactly.
    const Tensor weights = at::randn(other.sizes()).to(at::kBFloat16).to(at::kDouble);
    own = own + (one.to(at::kFloat) * weights.to(at::kFloat)).sum();
    exact = exact + (other * weights).sum();
  }
  if (!own.requires_grad()) return;
  own.backward();
  exact.backward();
  for (const auto& [name, leaf] : leaves) list.push_back({"d " + name, leaf.own.grad(), leaf.exact.grad()});
}

namespace {

struct Backwards {
  Backwards() { kernels::cuda::host_backwards = true; }
  ~Backwards() { kernels::cuda::host_backwards = false; }
};

// → [{ name, apart, length, most, greatest }]: Euclidean lengths of the difference and of what is expected, and the
// greatest magnitudes of both; all are Infinity where shapes differ or a value is not finite
Napi::Value host_kernel(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  const auto options = call[0].As<Napi::Object>();
  std::map<std::string, int64_t> numbers;
  const Napi::Array names = options.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const std::string name = names.Get(i).As<Napi::String>().Utf8Value();
    const Napi::Value value = options.Get(name);
    if (!value.IsString()) numbers[name] = value.ToNumber().Int64Value();
  }
  const std::string kernel = options.Get("kernel").As<Napi::String>().Utf8Value();
  try {
    Comparisons list = comparisons().at(kernel)(Case(numbers));
    // Once more from the last thread and block to the first: every number must be the same.
    const size_t count = list.size();
    const Comparisons again = [&] {
      const Backwards backwards;
      return comparisons().at(kernel)(Case(numbers));
    }();
    for (size_t i = 0; i < count; ++i) {
      if (list[i].own.defined()) list.push_back({"backwards " + list[i].name, again[i].own, Tensor(list[i].own)});
    }
    const Napi::Array result = Napi::Array::New(env);
    for (const Compared& each : list) {
      const Napi::Object object = Napi::Object::New(env);
      const bool fits = each.own.defined() && each.own.sizes() == each.expected.sizes();
      const Tensor own = fits ? each.own.detach().to(at::kDouble) : at::full({1}, INFINITY, at::kDouble),
                   expected = fits ? each.expected.detach().to(at::kDouble) : at::zeros({1}, at::kDouble);
      const bool finite = at::isfinite(own).all().item<bool>();
      const Tensor apart = finite ? own - expected : at::full({1}, INFINITY, at::kDouble);
      object.Set("name", each.name);
      object.Set("apart", apart.norm().item<double>());
      object.Set("length", expected.norm().item<double>());
      object.Set("most", apart.numel() > 0 ? apart.abs().max().item<double>() : 0);
      object.Set("greatest", expected.numel() > 0 ? expected.abs().max().item<double>() : 0);
      result.Set(result.Length(), object);
    }
    return result;
  } catch (const std::exception& error) {
    throw Napi::Error::New(env, kernel + ": " + error.what());
  }
}

const bool registered = [] {
  binding::further().push_back([](Napi::Env env, Napi::Object exports) {
    exports.Set("hostKernel", Napi::Function::New(env, host_kernel, "hostKernel"));
  });
  return true;
}();

}  // namespace
}  // namespace soundspot::testing
