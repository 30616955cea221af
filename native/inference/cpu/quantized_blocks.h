// The residual blocks of an encoder in int8: activations stay uint8 from the first block to the last.
#pragma once

#include "core/parameters.h"
#include "encoders/encoder.h"
#include "inference/cpu/quantized_convolution.h"

namespace soundspot::inference {

/// The convolutions of an encoder that are quantized, all 3 × 3 ones and shortcuts, by name; beside each the 3 × 3 one
/// that has the same input.
std::vector<std::pair<std::string, std::string>> quantized_names(const core::Parameters& parameters,
                                                                 const encoders::EncoderLayout& layout);

class QuantizedBlocks {
 public:
  /// `sizes` [B, C, h, w] of the input that it is made for.
  /// @pre the quantization has all convolutions of `quantized_names`.
  /// @throws Error ERR_INTERNAL with the name of weights that are not finite or too large; ERR_DEVICE when this
  /// LibTorch has no int8 convolutions.
  QuantizedBlocks(const core::Parameters& parameters, const encoders::EncoderLayout& layout,
                  const core::Quantization& quantization, std::vector<int64_t> sizes);

  /// `x` [B, C, h, w] float32, channels-last and without negative numbers, to the features of the last stage, float32.
  Tensor forward(const Tensor& x) const;

  /// Sizes of the result for the input that it was made for.
  const std::vector<int64_t>& output() const { return output_; }

 private:
  struct Block {
    QuantizedConvolution first, second;
    std::optional<QuantizedConvolution> shortcut;
  };

  std::vector<Block> blocks_;
  std::vector<int64_t> output_;
};

/// `x` [B, C, h, w] float32, channels-last, in steps: uint8, rounded to the nearest and clamped to 0 … 255.
Tensor to_steps(const Tensor& x, float step);

}  // namespace soundspot::inference
