// The content of a checkpoint file of any format.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/torch.h"

namespace soundspot::checkpoint {

/// Tensors that a file holds side by side, in its order.
struct Group {
  /// Where in the file they lie, keys of nested dictionaries joined by dots: "state_dict", "model.net"; "" at the top.
  std::string key;
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  /// Why this is no proper state dict; "" where it is one.
  std::string flaw;
};

/// The tensors that the file is first of all for, others that lie elsewhere in it in the order in which they are looked
/// at, and text beside them (the configuration as JSON, say).
/// Tensors that were read are on the CPU and need no gradient; those of a `.pth` may be strided views of one storage.
struct State : Group {
  std::vector<Group> others;
  std::map<std::string, std::string> metadata;
};

}  // namespace soundspot::checkpoint
