// The encoders of an evaluation pass, frozen.
#pragma once

#include "encoders/encoder.h"
#include "inference/cpu/convolution.h"

namespace soundspot::inference {

class FrozenEncoder {
 public:
  /// `input` are the sizes [1, C, h, w] that it is made for.
  /// @throws Error ERR_INTERNAL with the name of weights that are not finite or too large.
  FrozenEncoder(const core::Parameters& parameters, const encoders::EncoderLayout& layout, at::IntArrayRef input,
                at::ScalarType type, Filtering filtering = Filtering::kFastest);

  /// As encoders::Encoder::forward: [B, 3, size, size] or [B, 1, F, T] to tokens [B, N, D], float32.
  /// @throws Error ERR_INPUT, or ERR_INTERNAL for weights, where numbers are larger than core/bounds.h allows.
  Tensor forward(const Tensor& input) const;

 private:
  struct Block {
    std::string name;
    Convolution first, second;
    std::optional<Convolution> shortcut;
  };

  std::string name_;
  at::ScalarType type_;
  bool pool_, pool_frequency_;
  std::optional<Convolution> stem_, projection_;
  std::vector<Block> blocks_;
};

/// Maximum over 3 × 3 with stride 2 and padding 1, of a channels-last tensor [B, C, h, w] without negative numbers.
Tensor max_pool(const Tensor& x);

}  // namespace soundspot::inference
