#include "training/optimizer.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "kernels/device.h"

namespace soundspot::training {

namespace {

/// One parameter's step by plain operators (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019,
/// algorithm 2 with either decay), where `taken`.
void update(Tensor& value, const Tensor& plain_gradient, Tensor& mean, Tensor& square, const Tensor& step,
            const AdamOptions& options, const Condition& condition) {
  Tensor gradient = condition.divisor.defined() ? plain_gradient / condition.divisor : plain_gradient;
  if (options.coupled) gradient = gradient.add(value.detach(), options.weight_decay);
  const Tensor new_mean = (mean * options.beta1).add_(gradient, 1 - options.beta1),
               new_square = (square * options.beta2).addcmul_(gradient, gradient, 1 - options.beta2);
  const Tensor steps = step.to(at::kDouble);  // 0-dimensional
  const Tensor mean_bias = (1 - at::pow(options.beta1, steps)).to(at::kFloat),
               square_bias = (1 - at::pow(options.beta2, steps)).to(at::kFloat);
  const Tensor decayed = options.coupled ? value.detach() : value * (1 - options.learning_rate * options.weight_decay);
  const Tensor deviation = (new_square / square_bias).sqrt_().add_(options.epsilon);
  const Tensor new_value = decayed - (new_mean / mean_bias).div_(deviation).mul_(options.learning_rate);
  const auto put = [&](Tensor& to, const Tensor& from) {
    to.copy_(condition.taken.defined() ? at::where(condition.taken, from, to) : from);
  };
  put(mean, new_mean);
  put(square, new_square);
  put(value, new_value);
}

constexpr char kMean[] = "optimizer.exp_avg.", kSquare[] = "optimizer.exp_avg_sq.", kStep[] = "optimizer.step.";

}  // namespace

std::vector<std::string> Adam::step(const core::Parameters& parameters, const AdamOptions& options,
                                    const Condition& condition) {
  const at::NoGradGuard no_grad;
  std::vector<Tensor> values, gradients, means, squares, steps;
  std::vector<std::string> first;
  for (const core::Parameter& parameter : parameters.all()) {
    if (!parameter.trainable || !parameter.value.grad().defined()) continue;
    auto found = moments_.find(parameter.name);
    if (found == moments_.end()) {
      const Tensor& like = parameter.value;
      found = moments_
                  .emplace(parameter.name,
                           Moments{at::zeros_like(like), at::zeros_like(like), at::zeros({}, like.options())})
                  .first;
      first.push_back(parameter.name);
    }
    const Moments& moments = found->second;
    values.push_back(parameter.value);
    // The fused kernel walks memory: all four tensors must have the same strides.
    Tensor gradient = parameter.value.grad();
    if (gradient.strides() != parameter.value.strides()) gradient = at::empty_like(parameter.value).copy_(gradient);
    gradients.push_back(gradient);
    means.push_back(moments.mean);
    squares.push_back(moments.square);
    steps.push_back(moments.step);
  }
  if (values.empty()) return first;
  // Nothing was changed before all memory was there.
  const at::Device device = values.front().device();
  if (const auto* const own = kernels::kernels_of(device)) {
    const Tensor learning_rate = condition.learning_rate.defined()
                                     ? condition.learning_rate
                                     : at::full({}, options.learning_rate, at::device(device).dtype(at::kFloat));
    own->adam_step({values, gradients, means, squares, steps},
                   {options.beta1, options.beta2, options.epsilon, options.weight_decay, options.coupled},
                   learning_rate, condition.taken, condition.divisor);
    return first;
  }
  if (!device.is_cpu()) {
    const Tensor one =
        condition.taken.defined() ? condition.taken.to(at::kFloat) : at::ones({}, steps.front().options());
    at::_foreach_add_(steps, one);
    for (size_t i = 0; i < values.size(); ++i) {
      update(values[i], gradients[i], means[i], squares[i], steps[i], options, condition);
    }
    return first;
  }
  for (Tensor& step : steps) step.add_(1);
  const auto take = [&](const auto& fused) {
    fused(values, gradients, means, squares, /*max_exp_avg_sqs=*/at::TensorList(), steps, options.learning_rate,
          options.beta1, options.beta2, options.weight_decay, options.epsilon, /*amsgrad=*/false, /*maximize=*/false,
          /*grad_scale=*/std::nullopt, /*found_inf=*/std::nullopt);
  };
  if (options.coupled) {
    take([](auto&&... all) { at::_fused_adam_(all...); });
  } else {
    take([](auto&&... all) { at::_fused_adamw_(all...); });
  }
  return first;
}

void Adam::forget(const std::vector<std::string>& names) {
  for (const std::string& name : names) moments_.erase(name);
}

core::NamedTensors Adam::state() const {
  core::NamedTensors tensors;
  for (const auto& [name, moments] : moments_) {
    tensors.emplace_back(kMean + name, moments.mean);
    tensors.emplace_back(kSquare + name, moments.square);
    tensors.emplace_back(kStep + name, moments.step);
  }
  return tensors;
}

void Adam::restore(const core::Parameters& parameters, const core::NamedTensors& tensors) {
  State state;
  // Convolutions keep their channels-last order, as their parameters do.
  const at::Device device = parameters.all().front().value.device();
  const auto own = [&](const Tensor& tensor) {
    return tensor.to(device, tensor.scalar_type(), /*non_blocking=*/false, /*copy=*/true,
                     tensor.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
  };
  for (const auto& [name, tensor] : tensors) {
    const auto put = [&](const char* prefix, Tensor Moments::*moment) {
      if (name.rfind(prefix, 0) == 0) state[name.substr(std::strlen(prefix))].*moment = own(tensor);
    };
    put(kMean, &Moments::mean);
    put(kSquare, &Moments::square);
    put(kStep, &Moments::step);
  }
  check(parameters, state);
  moments_ = std::move(state);
}

uint64_t Adam::steps() const {
  double most = 0;
  for (const auto& [name, moments] : moments_) most = std::max(most, moments.step.item<double>());  // not in a step
  return static_cast<uint64_t>(most);
}

Tensor Adam::blank(const core::Parameters& parameters, const std::string& name) {
  for (const char* prefix : {kMean, kSquare}) {
    if (name.rfind(prefix, 0) == 0) return at::zeros_like(parameters[name.substr(std::strlen(prefix))].detach());
  }
  return at::zeros({}, parameters.all().front().value.options().requires_grad(false));
}

void Adam::check(const core::Parameters& parameters, const State& state) {
  for (const auto& [name, moments] : state) {
    // The fused kernel trusts these sizes: it walks all four tensors by the parameter's.
    const auto fits = [](const Tensor& tensor, at::IntArrayRef sizes) {
      return tensor.defined() && tensor.scalar_type() == at::kFloat && tensor.sizes() == sizes;
    };
    const bool known = parameters.has(name) && parameters[name].requires_grad();
    const at::IntArrayRef sizes = known ? parameters[name].sizes() : at::IntArrayRef();
    if (!known || !fits(moments.mean, sizes) || !fits(moments.square, sizes) || !fits(moments.step, {})) {
      throw Error("ERR_CHECKPOINT_MISMATCH", "The optimizer's state of " + name +
                                                 " does not fit this model. Resume with the configuration that the "
                                                 "file was made with, or train without resume.");
    }
    const bool possible =
        !core::first_not_finite({{kMean, moments.mean}, {kSquare, moments.square}, {kStep, moments.step}}) &&
        !moments.square.lt(0).any().item<bool>() && moments.step.item<float>() >= 0;  // not in a step
    if (possible) continue;
    throw Error("ERR_CHECKPOINT_CORRUPT", "The optimizer's state of " + name +
                                              " has values that none can have. Resume from an earlier checkpoint.");
  }
}

}  // namespace soundspot::training
