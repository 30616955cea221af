// A weight that serves several products, packed for them where that pays.
#pragma once

#include "kernels/cpu/kernels.h"
#include "kernels/products.h"

namespace soundspot::kernels {

/// A weight in the order in which the kernels read it, where its sizes fill panels; as it is otherwise.
class Factor {
 public:
  /// `matrix` [in, out], a weight or its transpose, and `bias` [out], which may be undefined, float32. With `bfloat16`
  /// both factors of a product are rounded; sums are float32 in any case. `rows` is how many rows most products have:
  /// the table of library_for says whether packing pays for as many.
  Factor(const Tensor& matrix, const Tensor& bias, bool bfloat16, int64_t rows);
  /// In float32, packed for any number of rows, where the sizes allow.
  static Factor packed(const Tensor& matrix, const Tensor& bias);

  /// out [rows, out] = x [rows, in] · matrix + bias, negative results 0 with `relu`. `out` is contiguous, and `x` or
  /// its transpose.
  void operator()(const Tensor& x, const Tensor& out, bool relu = false) const;

 private:
  Factor(const Tensor& matrix, const Tensor& bias, bool bfloat16);
  void pack(const Tensor& matrix);
  void multiply_pairs(const Tensor& x, const Tensor& out, bool relu) const;
  void multiply_panels(const Tensor& x, const Tensor& out, bool relu) const;

  Tensor plain_, packed_, bias_;
  Panels panels_;
  bool bfloat16_;
};

}  // namespace soundspot::kernels
