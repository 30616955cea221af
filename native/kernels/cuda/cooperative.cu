// Slot attention in one launch, for the GPU.
#include "kernels/cuda/cooperative.h"
#include "kernels/cuda/device.cuh"

namespace soundspot::kernels::cuda {

SOUNDSPOT_COOPERATIVE_KERNEL(CooperativeSlots<float, 1, 1, 2>);
SOUNDSPOT_COOPERATIVE_KERNEL(CooperativeSlots<float, 1, 1, 8>);
SOUNDSPOT_COOPERATIVE_KERNEL(CooperativeSlots<float, 4, 4, 2>);
SOUNDSPOT_COOPERATIVE_KERNEL(CooperativeSlots<float, 4, 4, 8>);
SOUNDSPOT_COOPERATIVE_KERNEL(CooperativeSlots<BFloat16, 1, 1, 2>);
SOUNDSPOT_COOPERATIVE_KERNEL(CooperativeSlots<BFloat16, 1, 1, 8>);
SOUNDSPOT_COOPERATIVE_KERNEL(CooperativeSlots<BFloat16, 8, 4, 2>);
SOUNDSPOT_COOPERATIVE_KERNEL(CooperativeSlots<BFloat16, 8, 4, 8>);

}  // namespace soundspot::kernels::cuda
