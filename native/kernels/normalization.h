// Batch norm joined with what follows it, and max pooling, for training on the CPU, as autograd functions.
#pragma once

#include "distributed/peers.h"

namespace soundspot::kernels {

struct BatchNorm {
  const Tensor &weight, &bias, &running_mean, &running_var;  // [C], float32; the running ones are updated
  double momentum, epsilon;
  const distributed::PeersPointer& peers;  // statistics are of the samples of all of them
};

/// relu(batch_norm(x) + residual) with the statistics of the batch, in one pass over the memory after that of the
/// statistics. `x` and `residual` are [B, C, h, w] of one type, float32 or bfloat16; `residual` may be undefined, and
/// without `relu` negative results stay. The result is channels-last.
Tensor batch_norm(const Tensor& x, const BatchNorm& norm, const Tensor& residual, bool relu);

/// Maximum over 3 × 3 with stride 2 and padding 1 of [B, C, h, w], float32 or bfloat16; channels-last.
Tensor max_pool(const Tensor& x);

}  // namespace soundspot::kernels
