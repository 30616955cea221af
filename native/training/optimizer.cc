#include "training/optimizer.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace soundspot::training {

namespace {

bool has_fused(at::Device device) { return device.is_cpu() || device.is_cuda(); }

/// One parameter's step by plain operators (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019,
/// algorithm 2 with either decay).
void update(Tensor& value, const Tensor& plain_gradient, Tensor& mean, Tensor& square, const Tensor& step,
            const AdamOptions& options) {
  const Tensor gradient = options.coupled ? plain_gradient.add(value.detach(), options.weight_decay) : plain_gradient;
  mean.mul_(options.beta1).add_(gradient, 1 - options.beta1);
  square.mul_(options.beta2).addcmul_(gradient, gradient, 1 - options.beta2);
  const Tensor steps = step.to(at::kDouble);  // 0-dimensional
  const Tensor mean_bias = (1 - at::pow(options.beta1, steps)).to(at::kFloat),
               square_bias = (1 - at::pow(options.beta2, steps)).to(at::kFloat);
  if (!options.coupled) value.mul_(1 - options.learning_rate * options.weight_decay);
  const Tensor deviation = (square / square_bias).sqrt_().add_(options.epsilon);
  value.sub_((mean / mean_bias).div_(deviation).mul_(options.learning_rate));
}

constexpr char kMean[] = "optimizer.exp_avg.", kSquare[] = "optimizer.exp_avg_sq.", kStep[] = "optimizer.step.";

}  // namespace

void Adam::step(const core::Parameters& parameters, const AdamOptions& options) {
  const at::NoGradGuard no_grad;
  std::vector<Tensor> values, gradients, means, squares, steps;
  for (const core::Parameter& parameter : parameters.all()) {
    if (!parameter.trainable || !parameter.value.grad().defined()) continue;
    auto found = moments_.find(parameter.name);
    if (found == moments_.end()) {
      const Tensor& like = parameter.value;
      found = moments_
                  .emplace(parameter.name,
                           Moments{at::zeros_like(like), at::zeros_like(like), at::zeros({}, like.options())})
                  .first;
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
  if (values.empty()) return;
  // Nothing was changed before all memory was there.
  for (Tensor& step : steps) step.add_(1);
  if (!has_fused(values.front().device())) {
    for (size_t i = 0; i < values.size(); ++i) {
      update(values[i], gradients[i], means[i], squares[i], steps[i], options);
    }
    return;
  }
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
  for (const auto& [name, moments] : moments_) most = std::max(most, moments.step.item<double>());
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
        !moments.square.lt(0).any().item<bool>() && moments.step.item<float>() >= 0;
    if (possible) continue;
    throw Error("ERR_CHECKPOINT_CORRUPT", "The optimizer's state of " + name +
                                              " has values that none can have. Resume from an earlier checkpoint.");
  }
}

}  // namespace soundspot::training
