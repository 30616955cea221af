#include "kernels/stem.h"

#include <algorithm>

#include "core/parts.h"
#include "kernels/cpu/kernels.h"

namespace soundspot::kernels {

bool Stem::fits(const Tensor& weight) {
  return weight.size(2) == kStem && weight.size(3) == kStem && weight.size(0) % kPanel == 0;
}

Stem::Stem(const Tensor& weight, const Tensor& bias)
    : weight_(weight.view({weight.size(0) / kPanel, kPanel, weight.size(1), kStem, kStem})
                  .permute({0, 2, 3, 4, 1})
                  .contiguous()),
      bias_(bias.contiguous()) {}

Tensor Stem::operator()(const Tensor& x) const {
  const StemSizes sizes{.channels = x.size(1), .height = x.size(2), .width = x.size(3), .out = bias_.size(0)};
  const int64_t batch = x.size(0), rows = (sizes.filtered_height() + 1) / 2, columns = (sizes.filtered_width() + 1) / 2;
  const Tensor y = at::empty({batch, sizes.out, rows, columns}, x.options(), at::MemoryFormat::ChannelsLast);
  core::in_parts(batch * rows, 1, [&](int64_t begin, int64_t end) {
    const Tensor scratch = at::empty({sizes.scratch()}, x.options());
    while (begin < end) {
      const int64_t sample = begin / rows, row = begin % rows, until = std::min(rows, row + end - begin);
      kernels().stem(x.const_data_ptr<float>() + sample * sizes.channels * sizes.height * sizes.width, sizes,
                     weight_.const_data_ptr<float>(), bias_.const_data_ptr<float>(), scratch.mutable_data_ptr<float>(),
                     y.mutable_data_ptr<float>() + sample * rows * columns * sizes.out, row, until);
      begin += until - row;
    }
  });
  return y;
}

}  // namespace soundspot::kernels
