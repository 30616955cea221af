#include "core/precision.h"

#include "core/processor.h"
#ifdef SOUNDSPOT_CUDA
#include <ATen/cuda/CUDAContext.h>
#endif

namespace soundspot::core {

namespace {

/// Of Ampere and later: both TF32 and bfloat16.
bool has_short_floats([[maybe_unused]] at::Device gpu) {
#ifdef SOUNDSPOT_CUDA
  return at::cuda::getDeviceProperties(gpu.index())->major >= 8;
#else
  return false;
#endif
}

}  // namespace

const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::kTf32:
      return "tf32";
    case Precision::kBFloat16:
      return "bfloat16";
    case Precision::kInt8:
      return "int8";
    default:
      return "float32";
  }
}

bool multiplies(at::Device device, Precision precision) {
  if (precision == Precision::kFloat32) return true;
  if (precision == Precision::kInt8) return device.is_cpu();
  if (device.is_cuda()) return has_short_floats(device);
  return precision == Precision::kBFloat16 && processor().multiplies_bfloat16();
}

}  // namespace soundspot::core
