// Sums of the backward passes of slot attention on the CPU.
#pragma once

#include <utility>
#include <vector>

#include "core/torch.h"

namespace soundspot::slot_attention {

/// Σ_k coefficients[b, k, n] · vectors[b, k], [B, N, D], of coefficients [B, K, N] and vectors [B, K, D]; float32,
/// contiguous.
Tensor weighted_sums(const Tensor& coefficients, const Tensor& vectors);

/// Sums over the rows of several matrices, computed together. What `of` returns has its values after `compute`.
class ColumnSums {
 public:
  /// Σ of the rows of x [rows, columns], float32 and contiguous: [columns].
  Tensor of(const Tensor& x);
  /// Σ x · y and Σ x, of two such matrices.
  std::pair<Tensor, Tensor> of(const Tensor& x, const Tensor& y);
  void compute() const;

 private:
  struct Job {
    Tensor x, y, sums, products;
  };
  std::vector<Job> jobs_;
};

}  // namespace soundspot::slot_attention
