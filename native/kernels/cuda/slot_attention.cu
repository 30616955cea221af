// Slot attention's kernels for the GPU.
#include "kernels/cuda/attention.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/slots.h"

namespace soundspot::kernels::cuda {

#define SOUNDSPOT_ATTENTION(Number, kWidth)            \
  SOUNDSPOT_KERNEL(Attend<Number, kWidth, 2>);         \
  SOUNDSPOT_KERNEL(Attend<Number, kWidth, 4>);         \
  SOUNDSPOT_KERNEL(AttendGradient<Number, kWidth, 2>); \
  SOUNDSPOT_KERNEL(AttendGradient<Number, kWidth, 4>)

SOUNDSPOT_ATTENTION(float, 1);
SOUNDSPOT_ATTENTION(float, 4);
SOUNDSPOT_ATTENTION(BFloat16, 1);
SOUNDSPOT_ATTENTION(BFloat16, 8);
SOUNDSPOT_KERNEL(NormRows);
SOUNDSPOT_KERNEL(NormRowsGradient);
SOUNDSPOT_KERNEL(GruNormRows);
SOUNDSPOT_KERNEL(GruNormRowsGradient);

}  // namespace soundspot::kernels::cuda
