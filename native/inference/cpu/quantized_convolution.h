// A convolution of bytes, through the int8 convolutions that LibTorch has of oneDNN: uint8 activations without zero
// point, int8 weights with a scale for each output channel, ReLU and sum fused.
#pragma once

#include "core/quantization.h"

namespace soundspot::inference {

/// Magnitudes that weights may have on this processor, caps regarded: kNarrowWeightLevels where it has no products of
/// bytes that are summed in 32 bits.
int64_t weight_levels();

class QuantizedConvolution {
 public:
  /// Dense int8 values [out, in, k, k] in the order that such a convolution of inputs of the sizes [B, in, h, w] reads
  /// them in; Tensor::to_dense gives them back. `step` of the input.
  /// @throws Error ERR_DEVICE when this LibTorch has no such convolutions.
  static Tensor packed(const Tensor& values, float step, int64_t stride, int64_t padding, at::IntArrayRef input);

  /// `values` packed, their `scales` [out] of any sign, `bias` [out] float32, `step` of the input.
  QuantizedConvolution(const Tensor& values, const Tensor& scales, const Tensor& bias, float step, int64_t stride,
                       int64_t padding);

  /// One step of the input.
  float step() const { return step_; }

  /// relu(convolution) in steps of `step`: uint8. `x` [B, in, h, w] uint8, channels-last.
  Tensor operator()(const Tensor& x, float step) const;

  /// The convolution, float32.
  Tensor real(const Tensor& x) const;

  /// relu(sum + convolution), into `sum`: uint8 in steps of `sum_step`, which become those of `step`.
  Tensor add_to(const Tensor& sum, float sum_step, const Tensor& x, float step) const;

  /// relu(sum + convolution), into `sum`, float32.
  Tensor add_to(const Tensor& sum, const Tensor& x) const;

  /// Sizes of the result for an input of these.
  std::vector<int64_t> output(at::IntArrayRef input) const;

 private:
  Tensor convolve(const Tensor& x, float step, at::ScalarType type, bool relu) const;
  Tensor convolve_onto(const Tensor& sum, float sum_step, const Tensor& x, float step) const;

  Tensor values_, scales_, zero_points_, bias_;
  float step_;
  int64_t stride_, padding_;
};

}  // namespace soundspot::inference
