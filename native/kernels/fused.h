// Where the fused functions of training compute.
#pragma once

#include "core/torch.h"

namespace soundspot::kernels {

/// On the CPU, and on NVIDIA's GPUs in builds with CUDA. Elsewhere the reference implementations compute.
inline bool fused_on(at::Device device) {
#ifdef SOUNDSPOT_CUDA
  if (device.is_cuda()) return true;
#endif
  return device.is_cpu();
}

}  // namespace soundspot::kernels
