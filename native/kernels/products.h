// Products of many rows with one weight, for training.
#pragma once

#include "kernels/cpu/kernels.h"
#include "torch.h"

namespace soundspot::kernels {

/// A weight in the order in which the kernels read it, where its sizes fill panels; as it is otherwise.
class Factor {
 public:
  /// `matrix` [in, out], a weight or its transpose, and `bias` [out], which may be undefined, float32. With `bfloat16`
  /// both factors of a product are rounded; sums are float32 in any case. `rows` is how many rows most products have:
  /// for few of them packing costs more than it brings, and with many LibTorch's own products are as fast.
  Factor(const Tensor& matrix, const Tensor& bias, bool bfloat16, int64_t rows);

  /// out [rows, out] = x [rows, in] · matrix + bias, negative results 0 with `relu`. Both are contiguous.
  void operator()(const Tensor& x, const Tensor& out, bool relu = false) const;

 private:
  Tensor plain_, packed_, bias_;
  Panels panels_;
  bool bfloat16_;
};

/// aᵀ · b of stacked rows, a weight's gradient.
Tensor transposed_product(const Tensor& a, const Tensor& b, bool bfloat16);

}  // namespace soundspot::kernels
