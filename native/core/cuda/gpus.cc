#include "core/gpus.h"

#include <cuda_runtime_api.h>

namespace soundspot::core {

namespace {

/// Of CUDA's own numbering: 13000 is 13.0.
std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

std::string capability(const Gpu& gpu) { return std::to_string(gpu.major) + "." + std::to_string(gpu.minor); }

std::string problem_of(cudaError_t outcome, const Gpus& found) {
  if (found.driver.empty()) {
    return "No NVIDIA driver is installed here, or this container has no access to it (`docker run --gpus all`).";
  }
  if (outcome == cudaErrorInsufficientDriver) {
    return "The NVIDIA driver is too old: it runs CUDA up to " + found.driver + ", this build needs " + found.built +
           ". Install a newer driver, or use the device \"cpu\".";
  }
  if (outcome == cudaErrorNoDevice || (outcome == cudaSuccess && found.list.empty())) {
    return "No NVIDIA GPU answers: look at the output of nvidia-smi, and at CUDA_VISIBLE_DEVICES.";
  }
  if (outcome != cudaSuccess) {
    return std::string("NVIDIA's driver fails: ") + cudaGetErrorString(outcome) + ". Look at the output of nvidia-smi.";
  }
  for (const Gpu& gpu : found.list) {
    if (gpu.usable) return "";
  }
  const Gpu& first = found.list.front();
  return "This build has no code for the GPU " + first.name + " (compute capability " + capability(first) +
         "): it is built for " SOUNDSPOT_CUDA_ARCHITECTURES ".";
}

Gpus look() {
  Gpus found;
  found.built = version(CUDART_VERSION);
  int number = 0;
  if (cudaDriverGetVersion(&number) == cudaSuccess && number > 0) found.driver = version(number);
  int count = 0;
  const cudaError_t outcome = cudaGetDeviceCount(&count);
  for (int i = 0; outcome == cudaSuccess && i < count; ++i) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    const bool usable = runs_on(SOUNDSPOT_CUDA_ARCHITECTURES, properties.major, properties.minor);
    found.list.push_back({properties.name, properties.major, properties.minor, properties.totalGlobalMem, usable});
  }
  found.problem = problem_of(outcome, found);
  cudaGetLastError();  // LibTorch would report it at its next call
  return found;
}

}  // namespace

const Gpus& gpus() {
  static const Gpus found = look();
  return found;
}

}  // namespace soundspot::core
