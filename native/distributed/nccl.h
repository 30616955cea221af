// NCCL for tensors on CUDA devices, where LibTorch has it.
#pragma once

#include <chrono>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

namespace soundspot::distributed {

/// Adds NCCL to a group, for its collectives of tensors on CUDA devices; nothing on a machine without a usable GPU.
/// Only in an addon that is built with CUDA (SOUNDSPOT_CUDA).
void add_nccl(c10d::ProcessGroup& group, const c10::intrusive_ptr<c10d::Store>& store,
              std::chrono::milliseconds timeout);

}  // namespace soundspot::distributed
