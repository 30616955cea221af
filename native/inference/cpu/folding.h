// What frozen encoders are made of: their blocks, and batch norm as a part of the convolution before it.
#pragma once

#include "core/parameters.h"
#include "encoders/encoder.h"

namespace soundspot::inference {

/// Calls `visit(name, stride)` for every residual block of an encoder, the first one first.
template <class Visit>
void each_block(const encoders::EncoderLayout& layout, const Visit& visit) {
  for (size_t stage = 0; stage < layout.strides.size(); ++stage) {
    for (int64_t index = 0; index < encoders::kBlocks; ++index) {
      const std::string name = layout.name + ".layer" + std::to_string(stage + 1) + "." + std::to_string(index);
      visit(name, index == 0 ? layout.strides[stage] : int64_t{1});
    }
  }
}

/// Factor and summand [out], float64, of the batch norm `norm` of an evaluation pass.
std::pair<Tensor, Tensor> affine_of(const core::Parameters& parameters, const std::string& norm);

/// A convolution's weight [out, in, k, k], a factor [out] on it that may be undefined, and its bias [out], float32.
struct FoldedConvolution {
  Tensor weight, factor, bias;

  /// The weight with the factor, which is its copy unless there is none.
  Tensor scaled() const { return factor.defined() ? weight * factor.view({-1, 1, 1, 1}) : weight; }
};

/// A convolution with the batch norm behind it. The weight is the parameter itself, as long as `parameters` has it.
/// @throws Error ERR_INTERNAL when it exceeds core::kMostOfConvolution or is not finite.
FoldedConvolution folded(const core::Parameters& parameters, const std::string& convolution, const std::string& norm);

}  // namespace soundspot::inference
