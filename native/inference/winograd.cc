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

int64_t across(int64_t length) { return (length + kWinogradOutput - 1) / kWinogradOutput; }

}  // namespace

bool Winograd::fits(const Tensor& weight) {
  return weight.size(2) == 3 && weight.size(3) == 3 && weight.size(0) % kPanel == 0 && weight.size(1) % kPanel == 0;
}

Winograd::Winograd(const Tensor& weight, const Tensor& bias)
    : bias_(bias.contiguous()), in_(weight.size(1)), out_(weight.size(0)) {
  const Tensor g = at::tensor({1. / 4, 0., 0.,             //
                               -1. / 6, -1. / 6, -1. / 6,  //
                               -1. / 6, 1. / 6, -1. / 6,   //
                               1. / 24, 1. / 12, 1. / 6,   //
                               1. / 24, -1. / 12, 1. / 6,  //
                               0., 0., 1.},
                              at::kDouble)
                       .view({6, 3});
  const Tensor both = at::matmul(at::matmul(g, weight.to(at::kDouble)), g.t());  // G w Gᵀ: [out, in, 6, 6]
  weight_ =
      both.view({out_ / kPanel, kPanel, in_, kWinogradProducts}).permute({3, 0, 2, 1}).to(at::kFloat).contiguous();
}

kernels::Panels Winograd::product(int64_t index) const {
  return {.full = weight_.const_data_ptr<float>() + index * in_ * out_, .in = in_, .panels = out_ / kPanel};
}

void Winograd::operator()(const Tensor& x, const Tensor& y, bool add, bool relu) const {
  const kernels::Kernels& run = kernels::kernels();
  const int64_t height = x.size(2), width = x.size(3), across_row = across(width), each = across(height) * across_row;
  const int64_t all = x.size(0) * each;
  const int64_t fit = kBytes / (kWinogradProducts * (in_ + out_) * static_cast<int64_t>(sizeof(float)));
  const int64_t block = std::min(all, std::max(fit, kFewestTiles));
  const Tensor transformed = at::empty({kWinogradProducts, block, in_}, x.options());
  const Tensor products = at::empty({kWinogradProducts, block, out_}, x.options());
  float* const inputs = transformed.mutable_data_ptr<float>();
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
      run.winograd_input(x.const_data_ptr<float>() + sample * height * width * in_, height, width, in_, row, column,
                         inputs + i * in_, block * in_);
    });
    at::parallel_for(0, kWinogradProducts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t f = begin; f < end; ++f) {
        const kernels::Panels weight = product(f);
        run.multiply(weight, inputs + f * block * in_, in_, count, outputs + f * block * out_, out_, 0, weight.panels,
                     false);
      }
    });
    over_tiles([&](int64_t i, int64_t sample, int64_t row, int64_t column) {
      run.winograd_output(outputs + i * out_, block * out_, bias_.const_data_ptr<float>(), height, width, out_, row,
                          column, add, relu, y.mutable_data_ptr<float>() + sample * height * width * out_);
    });
  }
}

}  // namespace soundspot::inference
