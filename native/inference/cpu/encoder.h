// The encoders of an evaluation pass, frozen.
#pragma once

#include <functional>

#include "encoders/encoder.h"
#include "inference/cpu/convolution.h"
#include "inference/cpu/quantized_blocks.h"
#include "kernels/stem.h"

namespace soundspot::inference {

class FrozenEncoder {
 public:
  /// Takes the input of each convolution of the blocks, by the convolution's name.
  using Observe = std::function<void(const std::string& name, const Tensor& x)>;

  /// `input` are the sizes [1, C, h, w] that it is made for. With a quantization the blocks are int8.
  /// @throws Error ERR_INTERNAL with the name of weights that are not finite or too large; those of QuantizedBlocks.
  FrozenEncoder(const core::Parameters& parameters, const encoders::EncoderLayout& layout, at::IntArrayRef input,
                at::ScalarType type, Filtering filtering = Filtering::kFastest,
                const core::Quantization* quantization = nullptr);

  /// As encoders::Encoder::forward: [B, 3, size, size] or [B, 1, F, T] to tokens [B, N, D], float32.
  /// @throws Error ERR_INPUT, or ERR_INTERNAL for weights, where numbers are larger than core/bounds.h allows.
  Tensor forward(const Tensor& input, const Observe& observe = {}) const;

 private:
  struct Block {
    std::string name;
    Convolution first, second;
    std::optional<Convolution> shortcut;
  };

  /// The result of the first convolution and its pooling.
  Tensor begin(const Tensor& input) const;
  Tensor pass(const Block& block, const Tensor& input, const Observe& observe) const;
  /// The first convolution and the blocks of `early_`.
  Tensor pass_early(const Tensor& input, const Observe& observe) const;

  std::string name_;
  at::ScalarType type_;
  bool pool_, pool_frequency_;
  std::optional<Convolution> stem_, projection_;
  std::optional<kernels::Stem> fused_stem_;  // in place of the stem
  std::vector<Block> blocks_;
  size_t early_ = 0;                          // blocks of few weights, which samples pass a few at a time
  int64_t together_ = 1;                      // that many
  std::optional<QuantizedBlocks> quantized_;  // in place of the blocks
};

/// Maximum over 3 × 3 with stride 2 and padding 1, of a channels-last tensor [B, C, h, w] without negative numbers.
Tensor max_pool(const Tensor& x);

}  // namespace soundspot::inference
