// A process group as JavaScript holds it.
#pragma once

#include "distributed/process_group.h"

namespace soundspot::binding {

struct GroupHandle {
  c10::intrusive_ptr<distributed::ProcessGroup> group;
};

}  // namespace soundspot::binding
