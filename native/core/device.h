// Devices by name.
#pragma once

#include <string>
#include <vector>

#include "core/torch.h"

namespace soundspot::core {

/// "auto" is the first CUDA GPU that answers, else the CPU; others are "cpu", "cuda" and "cuda:1".
/// @throws Error ERR_DEVICE when there is none of that name, with the names that there are.
at::Device find_device(const std::string& name);

/// The names of all devices that a model can be on: "cpu", "cuda:0".
std::vector<std::string> device_names();

}  // namespace soundspot::core
