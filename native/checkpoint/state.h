// What a checkpoint file holds, whatever its format.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/torch.h"

namespace soundspot::checkpoint {

/// Named tensors in the order of the file, and text beside them (the configuration as JSON, say).
/// Tensors that were read are on the CPU and need no gradient; those of a `.pth` may be strided views of one storage.
struct State {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  std::map<std::string, std::string> metadata;
};

}  // namespace soundspot::checkpoint
