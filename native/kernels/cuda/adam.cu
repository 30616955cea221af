// The optimizers' kernels for the GPU.
#include "kernels/cuda/adam.h"
#include "kernels/cuda/device.cuh"

namespace soundspot::kernels::cuda {

SOUNDSPOT_KERNEL(SquaredNorm);
SOUNDSPOT_KERNEL(JoinNorm);
SOUNDSPOT_KERNEL(CountSteps);
SOUNDSPOT_KERNEL(AdamUpdate);

}  // namespace soundspot::kernels::cuda
