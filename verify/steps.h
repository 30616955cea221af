// One training step of every method on a device, against LibTorch's operators on the CPU.
#pragma once

#include "core/torch.h"
#include "encoders/config.h"
#include "methods/method.h"
#include "verify/report.h"

namespace soundspot::verify {

/// On the CPU it is the fused kernels of the CPU that are verified.
void verify_steps(at::Device device, Report& report);

/// A method with what a step of it needs.
struct MethodCase {
  std::string name;
  std::map<std::string, double> numbers;
  std::vector<methods::WeightedLoss> losses;
  bool pooled_audio = true;
};

/// The methods of the package.
std::vector<MethodCase> method_cases();

}  // namespace soundspot::verify
