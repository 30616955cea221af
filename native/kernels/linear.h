// A linear layer's or a norm's parameters, as the fused functions take them.
#pragma once

#include "core/torch.h"

namespace soundspot::kernels {

struct Linear {
  Tensor weight, bias;
};

}  // namespace soundspot::kernels
