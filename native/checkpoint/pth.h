// Reading PyTorch's own checkpoints, without running code in them.
#pragma once

#include <string>
#include <string_view>

#include "checkpoint/state.h"

namespace soundspot::checkpoint {

/// Reads the state dicts of a file that torch.save wrote: the zip archive of PyTorch 1.6 and later, or the format of
/// earlier versions. They are those below the keys `state_dict`, `model_state_dict`, `model`, `net` and `weights`, in
/// this order and in dictionaries below them too, and last the saved object itself. Its pickle is read as data: classes
/// and functions that it names are never loaded or called, and what stands beside a state dict (optimizer, arguments)
/// is ignored. Numbers and strings within a state dict are ignored too; other objects there are an error where the file
/// has no other state dict, and else the group's `flaw`.
///
/// @return tensors in the order of their state dict by the names that they have there, float32/64/16, bfloat16,
///         int64/32/16/8, uint8 or bool, with the shapes and strides of the file; those that share a storage there
///         share it here. No metadata.
/// @throws Error ERR_CHECKPOINT_CORRUPT (also for TorchScript, compressed archives, files of big-endian machines, and
///         the tar archives of PyTorch 0.1.10 and earlier), ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_INPUT for a folder
///         or no permission.
State read_pth(const std::string& path);

/// Whether a file with these first bytes is for `read_pth`; kPthHeadBytes are enough.
bool is_pth(std::string_view head);
inline constexpr size_t kPthHeadBytes = 512;

}  // namespace soundspot::checkpoint
