// Reading PyTorch's own checkpoints, without running what is in them.
#pragma once

#include <string>
#include <string_view>

#include "checkpoint/state.h"

namespace soundspot::checkpoint {

/// Reads the state dict of a file that torch.save wrote (PyTorch 1.6 or later): the saved object itself, or what it has
/// under `model` or `state_dict`. A `module.` before every name is dropped. Its pickle is read as data: classes and
/// functions that it names are never loaded or called, and beside the state dict (optimizer, arguments) they are
/// ignored. Numbers and strings within the state dict are ignored too; other objects there are an error.
///
/// @return tensors in the order of the state dict, float32/64/16, bfloat16, int64/32/16/8, uint8 or bool, with the
/// shapes
///         and strides of the file; those that share a storage there share it here. No metadata.
/// @throws Error ERR_CHECKPOINT_CORRUPT (also for the format before PyTorch 1.6, TorchScript and compressed archives),
///         ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_INPUT for a folder or no permission.
State read_pth(const std::string& path);

/// Whether a file with these first bytes is for `read_pth`; 32 are enough.
bool is_pth(std::string_view head);

}  // namespace soundspot::checkpoint
