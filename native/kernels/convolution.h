// 3 × 3 convolutions of training on the CPU by Winograd's filtering, with their gradients.
#pragma once

#include "core/torch.h"

namespace soundspot::kernels {

/// Whether `convolution` takes these: float32 outside of autocast on the CPU, a weight [out, in, 3, 3] with multiples
/// of 32 channels on both sides, and enough pixels for filtering to gain.
bool convolution_fits(const Tensor& x, const Tensor& weight);

/// The convolution of `x` [B, in, h, w] with `weight` [out, in, 3, 3], stride and padding 1, no bias; channels-last.
/// Forward pass and both gradients are by Winograd's filtering. Their errors are at most 8 times those of direct sums
/// in float32 (test/unit/kernels/convolution.test.ts).
Tensor convolution(const Tensor& x, const Tensor& weight);

}  // namespace soundspot::kernels
