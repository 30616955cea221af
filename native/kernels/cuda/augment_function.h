// Augmentation on tensors, over a launcher: Device (functions.cu) or Host (tests).
#pragma once

#include "kernels/cuda/augment.h"
#include "kernels/cuda/tensors.h"

namespace soundspot::kernels::cuda {

template <class Launcher>
Tensor augment_by(const Tensor& squares, const Tensor& changes) {
  const Launcher run(squares);
  TORCH_CHECK(squares.dim() == 4 && squares.size(1) == squares.size(2) && squares.size(3) == 3,
              "images [B, size, size, 3] were expected, not ", squares.sizes());
  const int64_t batch = squares.size(0), size = squares.size(1);
  constexpr auto kBytes = static_cast<int64_t>(sizeof(signal::ImageChange));
  TORCH_CHECK(changes.is_contiguous() && changes.sizes() == at::IntArrayRef({batch, kBytes}), "changes [B, ", kBytes,
              "] were expected, not ", changes.sizes());
  const Tensor in = squares.contiguous(), blurred = at::empty_like(in);
  const ChangedImages images{size, reinterpret_cast<const signal::ImageChange*>(read<uint8_t>(changes))};
  run.launch(images.grid(batch), GaussianBlurs{images, read<uint8_t>(in), write<uint8_t>(blurred)});
  for (const bool vertical : {false, true}) {
    const BoxBlurs kernel{images, vertical, write<uint8_t>(blurred)};
    run.launch(kernel.grid(batch), kernel);
  }
  const Tensor sums = at::empty({batch, images.chunks()}, in.options().dtype(at::kLong));
  run.launch(images.grid(batch, GreySums::kShared), GreySums{images, read<uint8_t>(blurred), write<int64_t>(sums)});
  const Tensor out = at::empty(in.sizes(), in.options().dtype(at::kFloat));
  run.launch(images.grid(batch, FinishImages::kShared),
             FinishImages{images, read<uint8_t>(blurred), read<int64_t>(sums), write<float>(out)});
  return out.permute({0, 3, 1, 2});
}

}  // namespace soundspot::kernels::cuda
