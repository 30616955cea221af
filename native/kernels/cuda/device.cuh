// The Block of the GPU, and the launches of kernels. Each kernel is instantiated by SOUNDSPOT_KERNEL in one .cu file,
// which includes no header of LibTorch and compiles in seconds.
#pragma once

#include <cooperative_groups.h>
#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "kernels/cuda/block.h"
#include "kernels/cuda/launch.h"

namespace soundspot::kernels::cuda {

class DeviceBlock {
 public:
  template <class T>
  class Local {
   public:
    __device__ __forceinline__ explicit Local(const DeviceBlock&) {}
    __device__ __forceinline__ T& operator[](int) { return value_; }

   private:
    T value_;
  };

  __device__ __forceinline__ int threads() const { return static_cast<int>(blockDim.x); }
  __device__ __forceinline__ int64_t x() const { return blockIdx.x; }
  __device__ __forceinline__ int64_t y() const { return blockIdx.y; }
  __device__ __forceinline__ int64_t blocks_x() const { return gridDim.x; }
  __device__ __forceinline__ int64_t blocks_y() const { return gridDim.y; }

  template <class T>
  __device__ __forceinline__ T* shared() const {
    extern __shared__ double memory[];
    return reinterpret_cast<T*>(memory);
  }

  template <class Work>
  __device__ __forceinline__ void each(const Work& work) const {
    work(static_cast<int>(threadIdx.x));
    __syncthreads();
  }
  template <class Work>
  __device__ __forceinline__ void own(const Work& work) const {
    work(static_cast<int>(threadIdx.x));
  }

  template <class T, int count>
  __device__ __forceinline__ void warp_sum(Local<Values<T, count>>& values) const {
#pragma unroll
    for (int apart = kWarp / 2; apart > 0; apart /= 2) {
#pragma unroll
      for (int i = 0; i < count; ++i) values[0].v[i] += __shfl_xor_sync(0xffffffffu, values[0].v[i], apart);
    }
  }
};

template <class Kernel>
__global__ __launch_bounds__(Kernel::kThreads) void run(const __grid_constant__ Kernel kernel) {
  DeviceBlock block;
  kernel(block);
}

template <class Kernel>
__global__ __launch_bounds__(Kernel::kThreads) void run_cooperative(const __grid_constant__ Kernel kernel,
                                                                    int64_t stages) {
  DeviceBlock block;
  const cooperative_groups::grid_group grid = cooperative_groups::this_grid();
  for (int64_t stage = 0; stage < stages; ++stage) {
    kernel(block, stage);
    grid.sync();
  }
}

inline void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA error: ") + cudaGetErrorString(error));
}

/// Shared memory beyond 48 KiB must be asked for.
template <class Function>
void allow_shared(Function* function, int64_t bytes) {
  constexpr int64_t kAlways = 48 * 1024;
  if (bytes > kAlways) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(function), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(bytes)));
  }
}

template <class Kernel>
void launch_on(void* stream, const Grid& grid, const Kernel& kernel) {
  if (grid.x == 0 || grid.y == 0) return;
  allow_shared(run<Kernel>, grid.shared);
  run<Kernel><<<dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y)), Kernel::kThreads,
                static_cast<size_t>(grid.shared), static_cast<cudaStream_t>(stream)>>>(kernel);
  check(cudaGetLastError());
}

template <class Kernel>
void launch_cooperative_on(void* stream, int64_t stages, const Grid& grid, const Kernel& kernel) {
  allow_shared(run_cooperative<Kernel>, grid.shared);
  void* arguments[] = {const_cast<Kernel*>(&kernel), &stages};
  check(cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(run_cooperative<Kernel>),
                                    dim3(static_cast<unsigned>(grid.x)), dim3(Kernel::kThreads), arguments,
                                    static_cast<size_t>(grid.shared), static_cast<cudaStream_t>(stream)));
}

/// As many blocks as the current device holds at once.
template <class Kernel>
int64_t most_blocks_of(int64_t shared) {
  int device = 0, processors = 0, each = 0;
  check(cudaGetDevice(&device));
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
  allow_shared(run_cooperative<Kernel>, shared);
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, run_cooperative<Kernel>, Kernel::kThreads,
                                                      static_cast<size_t>(shared)));
  return static_cast<int64_t>(processors) * each;
}

#define SOUNDSPOT_KERNEL(...) template void launch_on<__VA_ARGS__>(void*, const Grid&, const __VA_ARGS__&)
#define SOUNDSPOT_COOPERATIVE_KERNEL(...)                                                            \
  template void launch_cooperative_on<__VA_ARGS__>(void*, int64_t, const Grid&, const __VA_ARGS__&); \
  template int64_t most_blocks_of<__VA_ARGS__>(int64_t)

}  // namespace soundspot::kernels::cuda
