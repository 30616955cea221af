// Matrix products between the kernels: cuBLAS on the GPU. Tensors are float32 and have no gradients.
#pragma once

#include "core/torch.h"

namespace soundspot::kernels::cuda {

/// Both factors rounded to bfloat16, sums in float32.
inline Tensor rounded_product(const Tensor& a, const Tensor& b) {
  const Tensor one = a.to(at::kBFloat16), other = b.to(at::kBFloat16);
  return a.is_cuda() ? at::mm(one, other, at::kFloat) : at::mm(one.to(at::kFloat), other.to(at::kFloat));
}

/// A factor that serves several products: [in, out] and its bias [out], which may be undefined.
class CudaFactor {
 public:
  CudaFactor(const Tensor& matrix, const Tensor& bias, bool bfloat16)
      : matrix_(bfloat16 ? matrix.to(at::kBFloat16) : matrix), bias_(bias), bfloat16_(bfloat16) {}

  /// out = x · matrix + bias.
  void operator()(const Tensor& x, const Tensor& out) const {
    Tensor to = out;
    if (bfloat16_) {
      to.copy_(rounded_product(x, matrix_));
      if (bias_.defined()) to.add_(bias_);
    } else if (bias_.defined()) {
      at::addmm_out(to, bias_, x, matrix_);
    } else {
      at::mm_out(to, x, matrix_);
    }
  }
  Tensor operator()(const Tensor& x) const {
    const Tensor out = at::empty({x.size(0), matrix_.size(1)}, x.options());
    (*this)(x, out);
    return out;
  }

 private:
  const Tensor matrix_, bias_;
  const bool bfloat16_;
};

/// aᵀ · b, a weight's gradient.
inline Tensor weight_gradient(const Tensor& a, const Tensor& b, bool bfloat16) {
  return bfloat16 ? rounded_product(a.t(), b) : at::mm(a.t(), b);
}

}  // namespace soundspot::kernels::cuda
