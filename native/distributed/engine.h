// A process group's objects of c10d, for the sources that include its headers.
#pragma once

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

namespace soundspot::distributed {

struct Engine {
  c10::intrusive_ptr<c10d::ProcessGroup> group;

  /// Exchanges tensors of this kind of device: Gloo those of the CPU, NCCL those of CUDA.
  c10d::Backend& backend(c10::DeviceType device) const { return *group->getBackend(device); }
};

}  // namespace soundspot::distributed
