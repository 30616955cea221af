// Launches of kernels that other files instantiate, without a CUDA header.
#pragma once

#include "kernels/cuda/block.h"

namespace soundspot::kernels::cuda {

/// `stream` is a cudaStream_t. Launches do not wait.
/// @throws std::runtime_error with CUDA's message where a launch is rejected.
template <class Kernel>
void launch_on(void* stream, const Grid& grid, const Kernel& kernel);

/// A launch whose blocks wait for each other after every stage, `kernel(block, stage)`.
template <class Kernel>
void launch_cooperative_on(void* stream, int64_t stages, const Grid& grid, const Kernel& kernel);

/// The most blocks of a cooperative launch on the current device, with `shared` bytes of shared memory each.
template <class Kernel>
int64_t most_blocks_of(int64_t shared);

}  // namespace soundspot::kernels::cuda
