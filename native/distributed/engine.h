// What a process group holds of c10d, for the sources that include its headers.
#pragma once

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

namespace soundspot::distributed {

struct Engine {
  c10::intrusive_ptr<c10d::ProcessGroup> group;

  c10d::Backend& backend() const { return *group->getBackend(c10::DeviceType::CPU); }
};

}  // namespace soundspot::distributed
