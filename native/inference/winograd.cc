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

/// Channels from which on products are made in bfloat16. With fewer they gain little, and float32 products keep
/// the layers that all others build on nearly exact.
constexpr int64_t kFewestForHalf = 256;

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
  const kernels::Kernels& run = kernels::kernels();
  const Tensor from = weight.contiguous();
  const int64_t panels = out_ / kPanel, each = in_ * kPanel;
  const auto numbers = [&](at::IntArrayRef sizes, at::ScalarType number) {
    return at::empty(sizes, from.options().dtype(number));
  };
  weight_ = numbers({kWinogradProducts, panels, each}, half_ ? at::kBFloat16 : at::kFloat);
  at::parallel_for(0, panels, 1, [&](int64_t begin, int64_t end) {
    const Tensor whole = half_ ? numbers({kWinogradProducts, each}, at::kFloat) : Tensor();
    for (int64_t panel = begin; panel < end; ++panel) {
      const float* of_panel = from.const_data_ptr<float>() + panel * kPanel * in_ * 9;
      if (!half_) {
        run.winograd_weight(of_panel, in_, weight_.mutable_data_ptr<float>() + panel * each, panels * each);
        continue;
      }
      run.winograd_weight(of_panel, in_, whole.mutable_data_ptr<float>(), each);
      for (int64_t f = 0; f < kWinogradProducts; ++f) {
        run.pack_pairs(whole.const_data_ptr<float>() + f * each, /*in_stride=*/kPanel, /*out_stride=*/1, in_, 0, 1,
                       static_cast<kernels::bfloat16_bits*>(weight_.mutable_data_ptr()) + (f * panels + panel) * each);
      }
    }
  });
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
