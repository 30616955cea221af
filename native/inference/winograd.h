// A 3 × 3 convolution by Winograd's minimal filtering: a quarter of the products of a direct one, in float32.
#pragma once

#include "kernels/cpu/kernels.h"
#include "torch.h"

namespace soundspot::inference {

class Winograd {
 public:
  /// Channels that the kernels take.
  static bool fits(const Tensor& weight);

  /// `weight` [out, in, 3, 3] and `bias` [out], float32. Stride and padding are 1.
  Winograd(const Tensor& weight, const Tensor& bias);

  /// `y` [B, out, h, w] = the convolution of `x` [B, in, h, w], both channels-last, plus what `y` holds with `add`,
  /// negative results 0 with `relu`.
  void operator()(const Tensor& x, const Tensor& y, bool add, bool relu) const;

 private:
  kernels::Panels product(int64_t index) const;

  Tensor weight_, bias_;  // weight [36, out / 32, in, 32]
  int64_t in_, out_;
};

}  // namespace soundspot::inference
