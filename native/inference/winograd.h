// A 3 × 3 convolution by Winograd's minimal filtering: a quarter of the products of a direct one.
#pragma once

#include "kernels/cpu/kernels.h"
#include "torch.h"

namespace soundspot::inference {

class Winograd {
 public:
  /// Whether the kernels take a weight of this shape, with products in this type on this processor.
  static bool fits(const Tensor& weight, at::ScalarType type);

  /// `weight` [out, in, 3, 3] and `bias` [out], float32. Stride and padding are 1. With bfloat16 the products of
  /// wide layers are made from rounded factors; everything around them is float32.
  Winograd(const Tensor& weight, const Tensor& bias, at::ScalarType type);

  /// `y` [B, out, h, w] = the convolution of `x` [B, in, h, w], both channels-last and float32, plus what `y` holds
  /// with `add`, negative results 0 with `relu`.
  void operator()(const Tensor& x, const Tensor& y, bool add, bool relu) const;

 private:
  /// out [rows, out] = x [rows, in] · the weight of one of the 36 products.
  void multiply(int64_t index, const void* x, int64_t rows, float* out) const;

  Tensor weight_, bias_;  // weight [36, out / 32, in, 32], bfloat16 [36, out / 32, in / 2, 32, 2]
  int64_t in_, out_;
  bool half_;
};

}  // namespace soundspot::inference
