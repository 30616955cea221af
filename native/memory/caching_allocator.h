// Memory of tensors, kept for the next ones.
#pragma once

#include <cstddef>

namespace soundspot::memory {

/// Makes LibTorch keep freed blocks of 256 KiB and more. The C library returns such blocks to the system at once on
/// threads other than the main one, and every training step would fault its pages in again. Once a process; later
/// calls do nothing.
void keep_large_blocks();

/// Returns what is free to the system, after memory ran out: the next allocation may be one of V8, which ends the
/// process when it fails.
void give_back_free_blocks();

/// The most bytes that blocks of 256 KiB and more held at one time since the last call with `restart`. It then counts
/// anew, from what they hold now.
size_t most_in_use(bool restart);

}  // namespace soundspot::memory
