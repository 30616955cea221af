// Every matrix product of training and of the reference path: through the library that is fastest for its shape.
#pragma once

#include "core/torch.h"

namespace soundspot::kernels {

/// Who computes a product of float32.
enum class Library : uint8_t {
  kLibTorch,  // at::mm: MKL in the official builds for x86
  kOneDnn,    // mkldnn::_linear_pointwise
  kPanels,    // this package's kernels, on a right factor that is packed first (Factor)
  kStream,    // this package's kernels, on a weight that is read once as it lies, for up to kStreamedRows rows
};

/// @return "libtorch", "onednn", "panels" or "stream"
const char* name_of(Library library);
/// @throws Error ERR_INPUT for another name.
Library library_named(const std::string& name);

/// Sizes of [rows, inner] · [inner, columns].
struct ProductShape {
  int64_t rows, inner, columns;
};

/// By a fixed table over vendor, instruction set and class of shapes; `npm run bench -- products` prints the
/// measurements that it stands on. The same kind of processor always gets the same answer, so that a run that is
/// resumed goes on bit for bit. `repeated`: the same weight serves several products, so that packing it pays.
Library library_for(const ProductShape& shape, bool repeated);

/// out [m, n] = a [m, k] · b [k, n] + bias [n], of float32 on the CPU, without gradients; the bias may be undefined.
/// The inputs may be transposed views; `out` is contiguous.
void multiply(const Tensor& a, const Tensor& b, const Tensor& bias, const Tensor& out, Library library);

/// The same by the library for the shape, as a new tensor. Of bfloat16 by LibTorch.
Tensor product(const Tensor& a, const Tensor& b, const Tensor& bias = {});

/// aᵀ · b of stacked rows, a weight's gradient, as float32. With `bfloat16` both factors are rounded.
Tensor transposed_product(const Tensor& a, const Tensor& b, bool bfloat16);

/// x [..., in] · weightᵀ [in, out] + bias, with gradients, as at::linear, whose place it takes; the bias may be
/// undefined. In autocast, for other types than float32 and on other devices it is at::linear.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias);

/// a [..., k] · b [k, n] with gradients, as at::matmul. What is a batch of products on both sides is at::matmul.
Tensor matmul(const Tensor& a, const Tensor& b);

}  // namespace soundspot::kernels
