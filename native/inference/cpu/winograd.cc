#include "inference/cpu/winograd.h"

#include <algorithm>

namespace soundspot::inference {

namespace {

using kernels::kPanel;

/// Bytes of the transformed tiles in flight on a core, half of an L2 cache or a whole one.
constexpr int64_t kBytes = 1 << 20;
constexpr int64_t kFewestTiles = 48;

/// Bytes of weights up to which every core reads all of them for tiles of its own: nothing is then handed from one
/// core to another on the way. More of them are shared out instead.
constexpr size_t kFewWeights = 1 << 20;

/// Channels from which on products are made in bfloat16. With fewer they gain little, and float32 products keep
/// the layers that all others build on nearly exact.
constexpr int64_t kFewestForHalf = 256;

/// Sides of a tile's results, and rows of a product below which reading its weights takes longer than multiplying:
/// 37 MB of them at some 20 GB/s, where 24 rows take as long at some 250 GFLOP/s.
constexpr std::array<int64_t, 2> kSides{2, 4};
constexpr int64_t kRowsAsReading = 24;

constexpr int64_t product_count(int64_t side) { return (side + 2) * (side + 2); }

int64_t across(int64_t length, int64_t side) { return (length + side - 1) / side; }

}  // namespace

WinogradTiles::WinogradTiles(int64_t side, const Tensor& weight, const Tensor& bias, bool half)
    : kernels_(side == 2 ? kernels::kernels().winograd_2 : kernels::kernels().winograd_4),
      bias_(bias),
      side_(side),
      products_(product_count(side)),
      in_(weight.size(1)),
      out_(weight.size(0)),
      half_(half) {
  const kernels::Kernels& run = kernels::kernels();
  const int64_t panels = out_ / kPanel, each = in_ * kPanel;
  const auto numbers = [&](at::IntArrayRef sizes, at::ScalarType number) {
    return at::empty(sizes, weight.options().dtype(number));
  };
  weight_ = numbers({products_, panels, each}, half_ ? at::kBFloat16 : at::kFloat);
  at::parallel_for(0, panels, 1, [&](int64_t begin, int64_t end) {
    const Tensor whole = half_ ? numbers({products_, each}, at::kFloat) : Tensor();
    for (int64_t panel = begin; panel < end; ++panel) {
      const float* of_panel = weight.const_data_ptr<float>() + panel * kPanel * in_ * 9;
      if (!half_) {
        kernels_.weight(of_panel, in_, weight_.mutable_data_ptr<float>() + panel * each, panels * each);
        continue;
      }
      kernels_.weight(of_panel, in_, whole.mutable_data_ptr<float>(), each);
      for (int64_t f = 0; f < products_; ++f) {
        run.pack_pairs(whole.const_data_ptr<float>() + f * each, /*in_stride=*/kPanel, /*out_stride=*/1, in_, 0, 1,
                       static_cast<kernels::bfloat16_bits*>(weight_.mutable_data_ptr()) + (f * panels + panel) * each);
      }
    }
  });
}

void WinogradTiles::multiply(int64_t index, const void* x, int64_t rows, float* out) const {
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

void WinogradTiles::operator()(const Tensor& x, const Tensor& y, bool add, bool relu) const {
  const int64_t all = x.size(0) * across(x.size(2), side_) * across(x.size(3), side_);
  const auto part = [&](int64_t begin, int64_t end) { filter(x, y, add, relu, begin, end); };
  if (weight_.nbytes() <= kFewWeights) {
    at::parallel_for(0, all, kFewestTiles, part);
  } else {
    part(0, all);
  }
}

void WinogradTiles::filter(const Tensor& x, const Tensor& y, bool add, bool relu, int64_t begin, int64_t end) const {
  const int64_t height = x.size(2), width = x.size(3), across_row = across(width, side_),
                each = across(height, side_) * across_row;
  const int64_t cores = at::in_parallel_region() ? 1 : at::get_num_threads();
  const int64_t fit = cores * kBytes / (products_ * (in_ + out_) * static_cast<int64_t>(sizeof(float)));
  const int64_t block = std::min(end - begin, std::max(fit, kFewestTiles));
  const int64_t input_plane = block * in_, output_plane = block * out_;
  const Tensor transformed = at::empty({products_, input_plane}, x.options().dtype(half_ ? at::kBFloat16 : at::kFloat));
  const Tensor products = at::empty({products_, output_plane}, x.options());
  void* const inputs = transformed.mutable_data_ptr();
  float* const outputs = products.mutable_data_ptr<float>();

  for (int64_t first = begin; first < end; first += block) {
    const int64_t count = std::min(block, end - first);
    const auto over_tiles = [&](const auto& work) {
      at::parallel_for(0, count, 1, [&](int64_t from, int64_t to) {
        for (int64_t i = from; i < to; ++i) {
          const int64_t sample = (first + i) / each, tile = (first + i) % each;
          work(i, sample, tile / across_row * side_, tile % across_row * side_);
        }
      });
    };
    over_tiles([&](int64_t i, int64_t sample, int64_t row, int64_t column) {
      const auto transform = [&](auto* to, const auto& kernel) {
        kernel(x.const_data_ptr<float>() + sample * height * width * in_, height, width, in_, row, column, to + i * in_,
               input_plane);
      };
      if (half_) {
        transform(static_cast<kernels::bfloat16_bits*>(inputs), kernels_.input_half);
      } else {
        transform(static_cast<float*>(inputs), kernels_.input);
      }
    });
    at::parallel_for(0, products_, 1, [&](int64_t from, int64_t to) {
      for (int64_t f = from; f < to; ++f) {
        multiply(f, static_cast<const char*>(inputs) + f * input_plane * transformed.element_size(), count,
                 outputs + f * output_plane);
      }
    });
    over_tiles([&](int64_t i, int64_t sample, int64_t row, int64_t column) {
      kernels_.output(outputs + i * out_, output_plane, bias_.const_data_ptr<float>(), height, width, out_, row, column,
                      add, relu, y.mutable_data_ptr<float>() + sample * height * width * out_);
    });
  }
}

bool Winograd::fits(const Tensor& weight, at::ScalarType type) {
  if (type == at::kBFloat16 && !kernels::kernels().multiply_pairs && weight.size(1) >= kFewestForHalf) return false;
  return weight.size(2) == 3 && weight.size(3) == 3 && weight.size(0) % kPanel == 0 && weight.size(1) % kPanel == 0;
}

Winograd::Winograd(const Tensor& weight, const Tensor& bias, at::ScalarType type)
    : weight_(weight.contiguous()),
      bias_(bias.contiguous()),
      half_(type == at::kBFloat16 && weight.size(1) >= kFewestForHalf) {}

void Winograd::operator()(const Tensor& x, const Tensor& y, bool add, bool relu) const {
  const auto cost = [&](int64_t side) {
    const int64_t tiles = x.size(0) * across(x.size(2), side) * across(x.size(3), side);
    return product_count(side) * std::max(tiles, kRowsAsReading);
  };
  const size_t best = cost(kSides[0]) < cost(kSides[1]) ? 0 : 1;
  Form& form = (*forms_)[best];
  std::call_once(form.made, [&] { form.tiles.emplace(kSides[best], weight_, bias_, half_); });
  (*form.tiles)(x, y, add, relu);
}

}  // namespace soundspot::inference
