#include "inference/cpu/folding.h"

#include "core/bounds.h"

namespace soundspot::inference {

std::pair<Tensor, Tensor> affine_of(const core::Parameters& parameters, const std::string& norm) {
  const auto of = [&](const char* name) { return parameters[norm + name].detach().to(at::kDouble); };
  const Tensor scale = of(".weight") / at::sqrt(of(".running_var") + encoders::kBatchNormEpsilon);
  return {scale, of(".bias") - of(".running_mean") * scale};
}

FoldedConvolution folded(const core::Parameters& parameters, const std::string& convolution, const std::string& norm) {
  const auto [factor, shift] = affine_of(parameters, norm);
  const FoldedConvolution of{parameters[convolution + ".weight"].detach(), factor.to(at::kFloat), shift.to(at::kFloat)};
  core::check_weights(of.weight, of.factor, of.bias, core::kMostOfConvolution, convolution + " with " + norm);
  return of;
}

}  // namespace soundspot::inference
