// Reading a checkpoint of any format that is known.
#pragma once

#include <string>

#include "checkpoint/state.h"

namespace soundspot::checkpoint {

/// Reads `path` with `read_pth` when its content is PyTorch's, else with `read_safetensors`. Its name does not matter.
/// @throws Error ERR_CHECKPOINT_CORRUPT, ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_INPUT for a folder or no permission.
State read_checkpoint(const std::string& path);

}  // namespace soundspot::checkpoint
