// Losses by themselves, on features that JavaScript gives.
#include "binding/convert.h"
#include "binding/functions.h"
#include "losses/loss.h"

namespace soundspot::binding {

namespace {

/// A tensor over the memory of `{ data: Float32Array | Float64Array, shape }`.
Tensor floating(const Napi::Object& object) {
  const auto data = object.Get("data").As<Napi::TypedArray>();
  if (data.TypedArrayType() == napi_float32_array) return tensor_from_javascript(object);
  auto values = typed_array(object, "data", napi_float64_array).As<Napi::Float64Array>();
  const auto dimensions = object.Get("shape").As<Napi::Array>();
  std::vector<int64_t> shape;
  for (uint32_t i = 0; i < dimensions.Length(); ++i) {
    shape.push_back(dimensions.Get(i).As<Napi::Number>().Int64Value());
  }
  return at::from_blob(values.Data(), shape, at::kDouble);
}

/// @throws Error ERR_SHAPE when the shapes of the features do not fit each other.
Tensor computed(const losses::Loss& loss, const std::string& name, const losses::LossInputs& inputs) {
  try {
    return loss.compute(inputs);
  } catch (const c10::Error& error) {
    const std::string reason = error.what_without_backtrace();
    throw Error("ERR_SHAPE",
                "The shapes of the features do not fit the loss " + name + ": " + reason.substr(0, reason.find('\n')));
  }
}

struct LossTerm {
  double value = 0;
  core::NamedTensors gradients;
};

// lossTerm({ name, temperature, targets, gradients }, { name: { data, shape } }) → Promise<{ value, gradients: { name:
// { data, shape } } }>; TypeScript has checked names and shapes
Napi::Value loss_term(const Napi::CallbackInfo& call) {
  const auto options = call[0].As<Napi::Object>();
  const auto given = call[1].As<Napi::Object>();
  const std::string name = text(options, "name");
  const double temperature = number(options, "temperature");
  const int64_t targets = integer(options, "targets");
  const bool with_gradients = boolean(options, "gradients");
  core::NamedTensors inputs;
  const Napi::Array names = given.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const std::string own = names.Get(i).As<Napi::String>().Utf8Value();
    inputs.emplace_back(own, floating(given.Get(own).As<Napi::Object>()));
  }
  return Job<LossTerm>::compute(
      call.Env(), {given},
      [=] {
        const losses::Loss& loss = losses::find_loss(name);
        losses::Features features;
        for (const auto& [own, value] : inputs) {
          features.add(own, with_gradients ? value.clone().requires_grad_() : value);
        }
        const Tensor excluded;
        const distributed::PeersPointer peers;
        const Tensor value = computed(loss, name, {features, targets, temperature, excluded, peers});
        LossTerm term{.value = value.item<double>(), .gradients = {}};
        if (!with_gradients) return term;
        if (value.requires_grad()) value.backward();
        for (const auto& [own, leaf] : features.items()) {
          term.gradients.emplace_back(own, leaf.grad().defined() ? leaf.grad() : at::zeros_like(leaf).detach());
        }
        return term;
      },
      [](Napi::Env env, LossTerm& term) {
        Napi::Object result = Napi::Object::New(env), gradients = Napi::Object::New(env);
        result.Set("value", term.value);
        for (const auto& [name, gradient] : term.gradients) {
          const Tensor values = gradient.to(at::kDouble).contiguous();
          auto data = Napi::Float64Array::New(env, static_cast<size_t>(values.numel()));
          std::copy_n(values.const_data_ptr<double>(), values.numel(), data.Data());
          gradients.Set(name, data);
        }
        result.Set("gradients", gradients);
        return result;
      });
}

// losses() → { name: features that it needs }
Napi::Value loss_names(const Napi::CallbackInfo& call) {
  Napi::Object all = Napi::Object::New(call.Env());
  for (const auto& [name, loss] : losses::registry()) {
    Napi::Array needs = Napi::Array::New(call.Env());
    for (const std::string& need : loss.needs) needs.Set(needs.Length(), need);
    all.Set(name, needs);
  }
  return all;
}

}  // namespace

void register_losses(Napi::Env env, Napi::Object exports) {
  exports.Set("lossTerm", Napi::Function::New(env, loss_term, "lossTerm"));
  exports.Set("losses", Napi::Function::New(env, loss_names, "losses"));
}

}  // namespace soundspot::binding
