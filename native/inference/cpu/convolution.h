// A convolution of an evaluation pass: batch norm folded in, weights in the order in which they are read, ReLU and sum
// fused. Through oneDNN, or by Winograd where that is faster.
#pragma once

#include "inference/cpu/folding.h"
#include "kernels/winograd.h"

namespace soundspot::inference {

enum class Filtering {
  kFastest,
  kDirect,  // never by Winograd, to compare with
};

/// Sizes [B, out, h', w'] of the result of a convolution with a filter of this size, of an input [B, in, h, w].
std::vector<int64_t> convolved(at::IntArrayRef input, int64_t out, int64_t size, int64_t stride, int64_t padding);

class Convolution {
 public:
  /// `input` are the sizes [B, in, h, w] that the order of the weights is chosen for; any others are computed as well.
  /// It may look at the weight for as long as it is used.
  Convolution(const FoldedConvolution& of, int64_t stride, int64_t padding, at::IntArrayRef input, at::ScalarType type,
              Filtering filtering);

  /// The type in which inputs are read and results are written; others are converted.
  at::ScalarType type() const { return winograd_ ? at::kFloat : bias_.scalar_type(); }

  /// `x` [B, in, h, w], channels-last.
  Tensor operator()(const Tensor& x, bool relu) const;

  /// relu(sum + convolution), into `sum` where its type allows.
  Tensor add_to(const Tensor& sum, const Tensor& x) const;

  /// Sizes of the result for an input of these.
  std::vector<int64_t> output(at::IntArrayRef input) const;

 private:
  Tensor weight_, bias_;
  std::optional<kernels::Winograd> winograd_;
  int64_t size_, out_, stride_, padding_;
  bool packed_;
};

}  // namespace soundspot::inference
