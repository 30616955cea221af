// The kernels of heatmaps and of the loss matching, for the GPU.
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/heatmap.h"
#include "kernels/cuda/matching.h"

namespace soundspot::kernels::cuda {

SOUNDSPOT_KERNEL(MapExtremes);
SOUNDSPOT_KERNEL(MapScales);
SOUNDSPOT_KERNEL(MapResult);
SOUNDSPOT_KERNEL(MatchingLoss);
SOUNDSPOT_KERNEL(MatchingGradient);

}  // namespace soundspot::kernels::cuda
