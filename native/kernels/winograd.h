// 3 × 3 convolutions by Winograd's minimal filtering, with less than half the products of direct ones; in float32 on
// the CPU, around images with a border of zeros.
#pragma once

#include <mutex>

#include "core/torch.h"
#include "kernels/cpu/kernels.h"

namespace soundspot::kernels {

/// A weight [out, in, 3, 3] where it lies in memory.
struct Filter {
  const float* data;
  FilterOrder order;
  int64_t out, in;
  const float* factor = nullptr;  // [out], on the weight; null: 1

  /// Whether the weight lies in an order that is read here: contiguous or channels-last.
  static bool reads(const Tensor& weight);
  /// Of such a float32 weight and a contiguous factor on it, which may be undefined. The tensors must outlive it.
  static Filter of(const Tensor& weight, const Tensor& factor = {});
  /// The one whose convolution gives the gradient of the input: outputs and inputs exchanged, turned by 180°.
  Filter turned() const;
};

/// By tiles of one size.
class WinogradTiles {
 public:
  /// `side` of a tile's results: 2 or 4. `bias` [out], contiguous float32. With `half` the products are made from
  /// factors rounded to bfloat16; everything around them is float32.
  WinogradTiles(int64_t side, const Filter& weight, const Tensor& bias, bool half);

  void operator()(const Tensor& x, const Tensor& y, bool add, bool relu) const;

 private:
  /// The tiles from `begin` to `end` of all samples'.
  void filter(const Tensor& x, const Tensor& y, bool add, bool relu, int64_t begin, int64_t end) const;
  /// out [rows, out] = x [rows, in] · the weight of one of the products.
  void multiply(int64_t index, const void* x, int64_t rows, float* out) const;

  const WinogradKernels& kernels_;
  Tensor weight_, bias_;  // weight [products, out / 32, in, 32], bfloat16 [products, out / 32, in / 2, 32, 2]
  int64_t side_, products_, in_, out_;
  bool half_;
};

/// By whichever tiles take less time for an input. The larger ones are fewer products; the smaller ones read fewer
/// weights, which is what takes the time where there are few tiles. Weights are transformed when they are first used.
class Winograd {
 public:
  /// Whether the kernels take a weight of this shape, with products in this type on this processor.
  static bool fits(const Tensor& weight, at::ScalarType type);

  /// `weight` [out, in, 3, 3], `factor` [out] on it, undefined for none, and `bias` [out], float32. Stride and padding
  /// are 1. With bfloat16 the products of wide layers are made in it. A weight that `Filter::reads` is not copied.
  Winograd(const Tensor& weight, const Tensor& factor, const Tensor& bias, at::ScalarType type);

  /// `y` [B, out, h, w] = the convolution of `x` [B, in, h, w], both channels-last and float32, plus what `y` holds
  /// with `add`, negative results 0 with `relu`.
  void operator()(const Tensor& x, const Tensor& y, bool add, bool relu) const;

 private:
  struct Form {
    std::once_flag made;
    std::optional<WinogradTiles> tiles;
  };

  Tensor weight_, factor_, bias_;
  bool half_;
  std::unique_ptr<std::array<Form, 2>> forms_ = std::make_unique<std::array<Form, 2>>();
};

/// The convolution of `x` [B, in, h, w] with stride and padding 1, channels-last and float32, by a weight that is
/// transformed for this call.
Tensor winograd(int64_t side, const Tensor& x, const Filter& weight);

/// The gradient [out, in, 3, 3], channels-last, of the weight of a convolution with stride and padding 1, from its
/// input `x` [B, in, h, w] and the gradient of its result [B, out, h, w], both channels-last and float32. Sums are of a
/// fixed number of tiles each: they do not depend on the number of threads.
Tensor winograd_weight_gradient(int64_t side, const Tensor& x, const Tensor& gradient);

/// Side of the tiles that take the least time for an input [B, C, h, w]: 2 or 4.
int64_t winograd_side(const Tensor& x);

}  // namespace soundspot::kernels
