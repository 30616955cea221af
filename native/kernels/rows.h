// Tensors in memory as the kernels take them: channels-last, or rows of contiguous float32.
#pragma once

#include "core/parts.h"

namespace soundspot::kernels {

inline Tensor channels_last(const Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }

inline float* at_row(const Tensor& tensor, int64_t row) {
  return tensor.mutable_data_ptr<float>() + row * tensor.size(-1);
}

/// `work(i)` for each i below `count`, in parallel.
template <class Work>
void over(int64_t count, const Work& work) {
  core::in_parts(count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) work(i);
  });
}

}  // namespace soundspot::kernels
