// The kernels of augmentation, for the GPU.
#include "kernels/cuda/augment.h"
#include "kernels/cuda/device.cuh"

namespace soundspot::kernels::cuda {

SOUNDSPOT_KERNEL(GaussianBlurs);
SOUNDSPOT_KERNEL(BoxBlurs);
SOUNDSPOT_KERNEL(GreySums);
SOUNDSPOT_KERNEL(FinishImages);

}  // namespace soundspot::kernels::cuda
