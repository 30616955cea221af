// Recordings as CUDA graphs.
#pragma once

#include "kernels/device.h"

namespace soundspot::kernels::cuda {

/// As DeviceKernels::record; null where the environment variable SOUNDSPOT_CUDA_GRAPHS is 0.
/// @throws c10::Error where something in `work` cannot be recorded; the device goes on as before.
std::unique_ptr<Recording> record_graph(at::Device device, const std::function<void()>& work, const Recording* beside);

}  // namespace soundspot::kernels::cuda
