// Memory of tensors, kept for the next ones.
#pragma once

namespace soundspot::memory {

/// Makes LibTorch keep freed blocks of 256 KiB and more. The C library returns such blocks to the system at once on
/// threads other than the main one, and every training step would fault its pages in again. Once a process; later
/// calls do nothing.
void keep_large_blocks();

/// Returns what is free to the system, after memory ran out: the next allocation may be one of V8, which ends the
/// process when it fails.
void give_back_free_blocks();

}  // namespace soundspot::memory
