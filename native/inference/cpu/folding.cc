#include "inference/cpu/folding.h"

namespace soundspot::inference {

std::pair<Tensor, Tensor> affine_of(const core::Parameters& parameters, const std::string& norm) {
  const auto of = [&](const char* name) { return parameters[norm + name].detach().to(at::kDouble); };
  const Tensor scale = of(".weight") / at::sqrt(of(".running_var") + encoders::kBatchNormEpsilon);
  return {scale, of(".bias") - of(".running_mean") * scale};
}

std::pair<Tensor, Tensor> folded(const core::Parameters& parameters, const std::string& convolution,
                                 const std::string& norm) {
  const auto [scale, shift] = affine_of(parameters, norm);
  const Tensor weight = parameters[convolution + ".weight"].detach() * scale.to(at::kFloat).view({-1, 1, 1, 1});
  return {weight, shift.to(at::kFloat)};
}

}  // namespace soundspot::inference
