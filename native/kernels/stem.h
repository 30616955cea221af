// The first convolution of an encoder with ReLU and pooling in one pass, in float32 on the CPU.
#pragma once

#include "core/torch.h"

namespace soundspot::kernels {

class Stem {
 public:
  /// Whether the kernel takes a weight of this shape.
  static bool fits(const Tensor& weight);

  /// `weight` [out, in, 7, 7] and `bias` [out], float32. The stride is 2, the padding 3.
  Stem(const Tensor& weight, const Tensor& bias);

  /// The convolution of `x` [B, in, h, w], contiguous, then ReLU, then the maximum over 3 × 3 with stride 2 and
  /// padding 1: [B, out, h', w'], channels-last.
  Tensor operator()(const Tensor& x) const;

 private:
  Tensor weight_, bias_;  // weight [out / 32, in, 7, 7, 32]
};

}  // namespace soundspot::kernels
