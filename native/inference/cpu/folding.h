// Batch norm as a part of the convolution before it.
#pragma once

#include "core/parameters.h"

namespace soundspot::inference {

/// Factor and summand [out], float64, of the batch norm `norm` of an evaluation pass.
std::pair<Tensor, Tensor> affine_of(const core::Parameters& parameters, const std::string& norm);

/// Weight and bias of a convolution with the batch norm behind it, float32.
std::pair<Tensor, Tensor> folded(const core::Parameters& parameters, const std::string& convolution,
                                 const std::string& norm);

}  // namespace soundspot::inference
