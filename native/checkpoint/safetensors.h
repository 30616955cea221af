// The native checkpoint format: https://huggingface.co/docs/safetensors
#pragma once

#include <string>

#include "checkpoint/state.h"

namespace soundspot::checkpoint {

/// Writes `state` to `path`. The file appears whole or not at all: another one of that name stays as it was until the
/// new one is on the disk. Tensors may have any shape, strides and device; they are stored contiguous. Equal states
/// give equal bytes. `soundspot.checksum` in the metadata is the checksum of everything else, whatever the caller has
/// there.
/// @throws Error ERR_FILE_WRITE; ERR_INPUT for a dtype, layout or name that the format cannot hold (float64, float32,
///         float16, bfloat16, int64, int32, int16, int8, uint8 and bool it can).
void write_safetensors(const std::string& path, State state);

/// Reads a file of any origin and trusts nothing in it: sizes are checked against the file's before memory is taken.
/// A checksum that it carries must be right.
/// @return contiguous tensors in the order of the header, and its `__metadata__` without the checksum.
/// @throws Error ERR_CHECKPOINT_CORRUPT, ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_INPUT for a folder or no permission.
State read_safetensors(const std::string& path);

}  // namespace soundspot::checkpoint
