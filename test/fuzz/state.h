// For the readers of files: read, and touch what came out.
#pragma once

#include "checkpoint/state.h"
#include "core/error.h"
#include "target.h"

namespace soundspot::fuzz {

/// Reads one byte of the first and of the last element of every tensor, so that a view beyond its memory shows.
inline void touch(const checkpoint::Group& group) {
  static volatile char sink;
  for (const auto& [name, tensor] : group.tensors) {
    require(!tensor.requires_grad() && tensor.device().is_cpu());
    if (tensor.numel() == 0) continue;
    const auto* first = static_cast<const char*>(tensor.const_data_ptr());
    int64_t last = 0;
    for (int64_t d = 0; d < tensor.dim(); ++d) last += (tensor.size(d) - 1) * tensor.stride(d);
    sink = *first;
    sink = first[(last + 1) * tensor.element_size() - 1];
  }
}

/// Whatever `bytes` are, `read` must give a state or say that they are no checkpoint.
template <class Read>
void read_file(std::string_view bytes, const Read& read) {
  try {
    const checkpoint::State state = read(file_of(bytes));
    touch(state);
    for (const checkpoint::Group& other : state.others) touch(other);
  } catch (const Error& error) {
    require(error.code() == (bytes.empty() ? "ERR_FILE_EMPTY" : "ERR_CHECKPOINT_CORRUPT"));
  }
}

}  // namespace soundspot::fuzz
