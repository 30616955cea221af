// The kernels that are verified: a GPU's, as kernels::kernels_of has them, or the same source on the host.
#pragma once

#include "kernels/device.h"

namespace soundspot::verify {

using Kernels = kernels::DeviceKernels;

/// The GPU's kernels, each run on the host, block by block, on tensors of the CPU. They record nothing.
const Kernels& host_kernels();

}  // namespace soundspot::verify
