#include "inference/winograd.h"

#include <algorithm>

namespace soundspot::inference {

namespace {

using kernels::kPanel;
using kernels::kWinogradOutput;
using kernels::kWinogradProducts;

/// Bytes of the transformed tiles in flight, an L2 cache or two.
constexpr int64_t kBytes = 2 << 20;
constexpr int64_t kFewestTiles = 48;

/// Channels from which bfloat16 products pay. With fewer the time goes into the transforms, and float32 products keep
/// the layers that all others build on nearly exact.
constexpr int64_t kFewestForHalf = 128;

int64_t across(int64_t length) { return (length + kWinogradOutput - 1) / kWinogradOutput; }

}  // namespace

bool Winograd::fits(const Tensor& weight, at::ScalarType type) {
  if (type == at::kBFloat16 && !kernels::kernels().multiply_pairs && weight.size(1) >= kFewestForHalf) return false;
  return weight.size(2) == 3 && weight.size(3) == 3 && weight.size(0) % kPanel == 0 && weight.size(1) % kPanel == 0;
}

Winograd::Winograd(const Tensor& weight, const Tensor& bias, at::ScalarType type)
    : bias_(bias.contiguous()),
      in_(weight.size(1)),
      out_(weight.size(0)),
      half_(type == at::kBFloat16 && weight.size(1) >= kFewestForHalf) {
  const double a = kernels::kWinogradA, b = kernels::kWinogradB, of_a = 2 * a * a * (a * a - b * b),
               of_b = 2 * b * b * (b * b - a * a);
  const Tensor g = at::tensor({1 / (a * a * b * b), 0., 0.,        //
                               1 / of_a, a / of_a, a * a / of_a,   //
                               1 / of_a, -a / of_a, a * a / of_a,  //
                               1 / of_b, b / of_b, b * b / of_b,   //
                               1 / of_b, -b / of_b, b * b / of_b,  //
                               0., 0., 1.},
                              at::kDouble)
                       .view({6, 3});
  const Tensor both = at::matmul(at::matmul(g, weight.to(at::kDouble)), g.t());  // G w Gᵀ: [out, in, 6, 6]
  if (half_) {
    const Tensor pairs = both.view({out_ / kPanel, kPanel, in_ / 2, 2, kWinogradProducts});
    weight_ = pairs.permute({4, 0, 2, 1, 3}).to(at::kBFloat16).contiguous();
  } else {
    const Tensor panels = both.view({out_ / kPanel, kPanel, in_, kWinogradProducts});
    weight_ = panels.permute({3, 0, 2, 1}).to(at::kFloat).contiguous();
  }
}

void Winograd::multiply(int64_t index, const void* x, int64_t rows, float* out) const {
  const kernels::Kernels& run = kernels::kernels();
  const int64_t offset = index * in_ * out_, panels = out_ / kPanel;
  if (half_) {
    using Bits = kernels::bfloat16_bits;
    const Bits* weight = static_cast<const Bits*>(weight_.const_data_ptr()) + offset;
    run.multiply_pairs({.pairs = weight, .in = in_, .panels = panels}, static_cast<const Bits*>(x), in_, rows, out,
                       out_, 0, panels, /*relu=*/false);
  } else {
    run.multiply({.full = weight_.const_data_ptr<float>() + offset, .in = in_, .panels = panels},
                 static_cast<const float*>(x), in_, rows, out, out_, 0, panels, /*relu=*/false);
  }
}

void Winograd::operator()(const Tensor& x, const Tensor& y, bool add, bool relu) const {
  const kernels::Kernels& run = kernels::kernels();
  const int64_t height = x.size(2), width = x.size(3), across_row = across(width), each = across(height) * across_row;
  const int64_t all = x.size(0) * each;
  const int64_t fit = kBytes / (kWinogradProducts * (in_ + out_) * static_cast<int64_t>(sizeof(float)));
  const int64_t block = std::min(all, std::max(fit, kFewestTiles));
  const Tensor transformed =
      at::empty({kWinogradProducts, block, in_}, x.options().dtype(half_ ? at::kBFloat16 : at::kFloat));
  const Tensor products = at::empty({kWinogradProducts, block, out_}, x.options());
  void* const inputs = transformed.mutable_data_ptr();
  float* const outputs = products.mutable_data_ptr<float>();

  for (int64_t first = 0; first < all; first += block) {
    const int64_t count = std::min(block, all - first);
    const auto over_tiles = [&](const auto& work) {
      at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t sample = (first + i) / each, tile = (first + i) % each;
          work(i, sample, tile / across_row * kWinogradOutput, tile % across_row * kWinogradOutput);
        }
      });
    };
    over_tiles([&](int64_t i, int64_t sample, int64_t row, int64_t column) {
      const auto transform = [&](auto* to, const auto& kernel) {
        kernel(x.const_data_ptr<float>() + sample * height * width * in_, height, width, in_, row, column, to + i * in_,
               block * in_);
      };
      if (half_) {
        transform(static_cast<kernels::bfloat16_bits*>(inputs), run.winograd_input_half);
      } else {
        transform(static_cast<float*>(inputs), run.winograd_input);
      }
    });
    at::parallel_for(0, kWinogradProducts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t f = begin; f < end; ++f) {
        const char* from = static_cast<const char*>(inputs) + f * block * in_ * transformed.element_size();
        multiply(f, from, count, outputs + f * block * out_);
      }
    });
    over_tiles([&](int64_t i, int64_t sample, int64_t row, int64_t column) {
      run.winograd_output(outputs + i * out_, block * out_, bias_.const_data_ptr<float>(), height, width, out_, row,
                          column, add, relu, y.mutable_data_ptr<float>() + sample * height * width * out_);
    });
  }
}

}  // namespace soundspot::inference
