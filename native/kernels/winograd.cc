#include "kernels/winograd.h"

#include <algorithm>
#include <vector>

#include "core/parts.h"

namespace soundspot::kernels {

namespace {

/// Bytes of the transformed tiles in flight on a core, half of an L2 cache or a whole one.
constexpr int64_t kBytes = 1 << 20;
constexpr int64_t kFewestTiles = 48;

/// Bytes of weights up to which every core reads all of them for tiles of its own: nothing is then handed from one
/// core to another on the way. More of them are shared out instead.
constexpr size_t kFewWeights = 1 << 20;

/// Channels from which on products are made in bfloat16. With fewer they gain little, and float32 products keep
/// the layers that all others build on nearly exact.
constexpr int64_t kFewestForHalf = 256;

/// Numbers between the planes of two products. Where planes lay multiples of 4 KB apart, a tile's elements would
/// compete for the same few lines of the first cache.
constexpr int64_t kApart = 16;

/// Sides of a tile's results, and rows of a product below which reading its weights takes longer than multiplying:
/// 37 MB of them at some 20 GB/s, where 24 rows take as long at some 250 GFLOP/s.
constexpr std::array<int64_t, 2> kSides{2, 4};
constexpr int64_t kRowsAsReading = 24;

/// Bytes of the transformed tiles of a weight's gradient in flight, and the fewest tiles of one part: each part reads
/// and writes all sums.
constexpr int64_t kGradientBytes = 4 << 20, kFewestOfGradient = 192;

constexpr int64_t product_count(int64_t side) { return (side + 2) * (side + 2); }

int64_t across(int64_t length, int64_t side) { return (length + side - 1) / side; }

int64_t tiles_of(const Tensor& x, int64_t side) {
  return x.size(0) * across(x.size(2), side) * across(x.size(3), side);
}

const WinogradKernels& kernels_of(int64_t side) { return side == 2 ? kernels().winograd_2 : kernels().winograd_4; }

/// Calls `work(index, sample, place)` for `count` tiles from `first` on, in parallel.
template <class Work>
void over_tiles(const Tensor& x, int64_t side, int64_t first, int64_t count, const Work& work) {
  const int64_t channels = x.size(1), height = x.size(2), width = x.size(3), across_row = across(width, side),
                each = across(height, side) * across_row;
  core::in_parts(count, 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      const int64_t sample = (first + i) / each, tile = (first + i) % each;
      work(i, sample, TilePlace{height, width, channels, tile / across_row * side, tile % across_row * side});
    }
  });
}

}  // namespace

bool Filter::reads(const Tensor& weight) {
  return weight.is_contiguous() || weight.is_contiguous(at::MemoryFormat::ChannelsLast);
}

Filter Filter::of(const Tensor& weight, const Tensor& factor) {
  TORCH_CHECK(reads(weight), "a weight in a known order was expected");
  return {.data = weight.const_data_ptr<float>(),
          .order = {.out = weight.stride(0), .in = weight.stride(1), .place = weight.stride(3)},
          .out = weight.size(0),
          .in = weight.size(1),
          .factor = factor.defined() ? factor.const_data_ptr<float>() : nullptr};
}

Filter Filter::turned() const {
  TORCH_CHECK(!factor, "a factor is of outputs, which become inputs");
  return {.data = data + 8 * order.place,
          .order = {.out = order.in, .in = order.out, .place = -order.place},
          .out = in,
          .in = out};
}

WinogradTiles::WinogradTiles(int64_t side, const Filter& weight, const Tensor& bias, bool half)
    : kernels_(kernels_of(side)),
      bias_(bias),
      side_(side),
      products_(product_count(side)),
      in_(weight.in),
      out_(weight.out),
      half_(half) {
  const Kernels& run = kernels();
  const int64_t panels = out_ / kPanel, each = in_ * kPanel;
  const auto numbers = [&](at::IntArrayRef sizes, at::ScalarType number) {
    return at::empty(sizes, at::dtype(number));
  };
  weight_ = numbers({products_, panels, each}, half_ ? at::kBFloat16 : at::kFloat);
  core::in_parts(panels, 1, [&](int64_t begin, int64_t end) {
    const Tensor whole = half_ ? numbers({products_, each}, at::kFloat) : Tensor();
    const int64_t size = 9 * in_;
    std::vector<float> scaled(weight.factor ? static_cast<size_t>(kPanel * size) : 0);
    for (int64_t panel = begin; panel < end; ++panel) {
      const float* of_panel = weight.data + panel * kPanel * weight.order.out;
      if (weight.factor) {
        for (int64_t o = 0; o < kPanel; ++o) {
          const float factor = weight.factor[panel * kPanel + o];
          std::transform(of_panel + o * size, of_panel + (o + 1) * size, scaled.data() + o * size,
                         [&](float w) { return w * factor; });
        }
        of_panel = scaled.data();
      }
      if (!half_) {
        kernels_.weight(of_panel, weight.order, in_, weight_.mutable_data_ptr<float>() + panel * each, panels * each);
        continue;
      }
      kernels_.weight(of_panel, weight.order, in_, whole.mutable_data_ptr<float>(), each);
      for (int64_t f = 0; f < products_; ++f) {
        run.pack_pairs(whole.const_data_ptr<float>() + f * each, /*in_stride=*/kPanel, /*out_stride=*/1, in_, 0, 1,
                       static_cast<bfloat16_bits*>(weight_.mutable_data_ptr()) + (f * panels + panel) * each);
      }
    }
  });
}

void WinogradTiles::multiply(int64_t index, const void* x, int64_t rows, float* out) const {
  const Kernels& run = kernels();
  const int64_t offset = index * in_ * out_, panels = out_ / kPanel;
  if (half_) {
    using Bits = bfloat16_bits;
    const Bits* weight = static_cast<const Bits*>(weight_.const_data_ptr()) + offset;
    run.multiply_pairs({.pairs = weight, .in = in_, .panels = panels}, static_cast<const Bits*>(x), in_, rows, out,
                       out_, 0, panels, /*relu=*/false);
  } else {
    run.multiply_tiles(weight_.const_data_ptr<float>() + offset, in_, panels, static_cast<const float*>(x), rows, out);
  }
}

void WinogradTiles::operator()(const Tensor& x, const Tensor& y, bool add, bool relu) const {
  const int64_t all = tiles_of(x, side_);
  const auto part = [&](int64_t begin, int64_t end) { filter(x, y, add, relu, begin, end); };
  if (weight_.nbytes() <= kFewWeights) {
    core::in_parts(all, kFewestTiles, part);
  } else {
    part(0, all);
  }
}

void WinogradTiles::filter(const Tensor& x, const Tensor& y, bool add, bool relu, int64_t begin, int64_t end) const {
  const int64_t pixels = x.size(2) * x.size(3);
  const int64_t cores = at::in_parallel_region() ? 1 : at::get_num_threads();
  const int64_t fit = cores * kBytes / (products_ * (in_ + out_) * static_cast<int64_t>(sizeof(float)));
  const int64_t most = std::max(fit, kFewestTiles), blocks = std::max<int64_t>(1, (end - begin + most - 1) / most),
                block = (end - begin + blocks - 1) / blocks;
  const int64_t input_plane = block * in_ + kApart, output_plane = block * out_ + kApart;
  const Tensor transformed = at::empty({products_, input_plane}, x.options().dtype(half_ ? at::kBFloat16 : at::kFloat));
  const Tensor products = at::empty({products_, output_plane}, x.options());
  void* const inputs = transformed.mutable_data_ptr();
  float* const outputs = products.mutable_data_ptr<float>();

  for (int64_t first = begin; first < end; first += block) {
    const int64_t count = std::min(block, end - first);
    // In float32 the products take panels [32 channels][tiles], in bfloat16 rows of all channels.
    const int64_t panel = half_ ? kPanel : count * kPanel, input_tile = half_ ? in_ : kPanel,
                  output_tile = half_ ? out_ : kPanel;
    over_tiles(x, side_, first, count, [&](int64_t i, int64_t sample, const TilePlace& place) {
      const float* const from = x.const_data_ptr<float>() + sample * pixels * in_;
      const TileOrder order{.stride = input_plane, .panel = panel};
      if (half_) {
        kernels_.input_half(from, place, static_cast<bfloat16_bits*>(inputs) + i * input_tile, order);
      } else {
        kernels_.input(from, place, static_cast<float*>(inputs) + i * input_tile, order);
      }
    });
    core::in_parts(products_, 1, [&](int64_t from, int64_t to) {
      for (int64_t f = from; f < to; ++f) {
        multiply(f, static_cast<const char*>(inputs) + f * input_plane * transformed.element_size(), count,
                 outputs + f * output_plane);
      }
    });
    over_tiles(y, side_, first, count, [&](int64_t i, int64_t sample, const TilePlace& place) {
      kernels_.output(outputs + i * output_tile, {.stride = output_plane, .panel = panel},
                      bias_.const_data_ptr<float>(), place, add, relu,
                      y.mutable_data_ptr<float>() + sample * pixels * out_);
    });
  }
}

bool Winograd::fits(const Tensor& weight, at::ScalarType type) {
  if (type == at::kBFloat16 && !kernels().multiply_pairs && weight.size(1) >= kFewestForHalf) return false;
  return weight.size(2) == 3 && weight.size(3) == 3 && weight.size(0) % kPanel == 0 && weight.size(1) % kPanel == 0;
}

Winograd::Winograd(const Tensor& weight, const Tensor& factor, const Tensor& bias, at::ScalarType type)
    : weight_(Filter::reads(weight) ? weight : weight.contiguous()),
      factor_(factor),
      bias_(bias.contiguous()),
      half_(type == at::kBFloat16 && weight.size(1) >= kFewestForHalf) {}

void Winograd::operator()(const Tensor& x, const Tensor& y, bool add, bool relu) const {
  const int64_t side = winograd_side(x);
  Form& form = (*forms_)[side == kSides[0] ? 0 : 1];
  std::call_once(form.made, [&] { form.tiles.emplace(side, Filter::of(weight_, factor_), bias_, half_); });
  (*form.tiles)(x, y, add, relu);
}

int64_t winograd_side(const Tensor& x) {
  const auto cost = [&](int64_t side) { return product_count(side) * std::max(tiles_of(x, side), kRowsAsReading); };
  return cost(kSides[0]) < cost(kSides[1]) ? kSides[0] : kSides[1];
}

Tensor winograd(int64_t side, const Tensor& x, const Filter& weight) {
  const Tensor y =
      at::empty({x.size(0), weight.out, x.size(2), x.size(3)}, x.options(), at::MemoryFormat::ChannelsLast);
  const WinogradTiles tiles(side, weight, at::zeros({weight.out}, x.options().memory_format(std::nullopt)),
                            /*half=*/false);
  tiles(x, y, /*add=*/false, /*relu=*/false);
  return y;
}

Tensor winograd_weight_gradient(int64_t side, const Tensor& x, const Tensor& gradient) {
  const Kernels& run = kernels();
  const WinogradKernels& transforms = kernels_of(side);
  const int64_t in = x.size(1), out = gradient.size(1), products = product_count(side), all = tiles_of(x, side),
                pixels = x.size(2) * x.size(3), panels = in / kPanel;
  const int64_t block =
      std::min(all, std::max(kGradientBytes / (products * (in + out) * int64_t{sizeof(float)}), kFewestOfGradient));
  const int64_t input_plane = block * in + kApart, output_plane = block * out + kApart;
  const auto floats = [&](int64_t count) { return at::empty({count}, x.options()); };
  const Tensor inputs = floats(products * input_plane), outputs = floats(products * output_plane),
               sums = floats(products * out * in);
  float *const in_data = inputs.mutable_data_ptr<float>(), *const out_data = outputs.mutable_data_ptr<float>(),
               *const sum_data = sums.mutable_data_ptr<float>();
  for (int64_t first = 0; first < all; first += block) {
    const int64_t count = std::min(block, all - first);
    over_tiles(x, side, first, count, [&](int64_t i, int64_t sample, const TilePlace& place) {
      transforms.input(x.const_data_ptr<float>() + sample * pixels * in, place, in_data + i * kPanel,
                       {.stride = input_plane, .panel = count * kPanel});
    });
    over_tiles(gradient, side, first, count, [&](int64_t i, int64_t sample, const TilePlace& place) {
      transforms.output_gradient(gradient.const_data_ptr<float>() + sample * pixels * out, place, out_data + i * out,
                                 {.stride = output_plane});
    });
    core::in_parts(products * panels, 1, [&](int64_t from, int64_t to) {
      for (int64_t unit = from; unit < to; ++unit) {
        const int64_t f = unit / panels, panel = unit % panels;
        float* const sum = sum_data + f * out * in + panel * kPanel;
        const float* const factor = in_data + f * input_plane + panel * count * kPanel;
        const LeftFactor left{.data = out_data + f * output_plane, .row = 1, .inner = out};
        run.accumulate_rows(factor, count, left, out, sum, in, /*add=*/first > 0);
      }
    });
  }
  const Tensor weight = at::empty({out, in, 3, 3}, x.options(), at::MemoryFormat::ChannelsLast);
  core::in_parts(out, 1, [&](int64_t from, int64_t to) {
    for (int64_t o = from; o < to; ++o) {
      transforms.weight_gradient(sum_data + o * in, out * in, in, weight.mutable_data_ptr<float>() + o * 9 * in);
    }
  });
  return weight;
}

}  // namespace soundspot::kernels
