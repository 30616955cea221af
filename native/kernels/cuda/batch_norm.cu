// Batch norm's kernels for the GPU.
#include "kernels/cuda/batch_norm.h"
#include "kernels/cuda/device.cuh"

namespace soundspot::kernels::cuda {

#define SOUNDSPOT_BATCH_NORM(Number, kWidth)           \
  SOUNDSPOT_KERNEL(BatchMoments<Number, kWidth>);      \
  SOUNDSPOT_KERNEL(BatchNormalize<Number, kWidth>);    \
  SOUNDSPOT_KERNEL(BatchGradientSums<Number, kWidth>); \
  SOUNDSPOT_KERNEL(BatchGradient<Number, kWidth>)

SOUNDSPOT_BATCH_NORM(float, 1);
SOUNDSPOT_BATCH_NORM(float, 4);
SOUNDSPOT_BATCH_NORM(BFloat16, 1);
SOUNDSPOT_BATCH_NORM(BFloat16, 8);
SOUNDSPOT_KERNEL(JoinMoments);
SOUNDSPOT_KERNEL(BatchFactors);
SOUNDSPOT_KERNEL(JoinGradientSums);

}  // namespace soundspot::kernels::cuda
