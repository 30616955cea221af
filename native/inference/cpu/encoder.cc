#include "inference/cpu/encoder.h"

#include <algorithm>

#include "core/bounds.h"
#include "core/error.h"
#include "core/parts.h"
#include "inference/cpu/folding.h"
#include "kernels/cpu/kernels.h"

namespace soundspot::inference {

namespace {

/// Channels of blocks whose weights are read in less time than the activations of a large batch, and bytes of one
/// tensor of activations that the last cache holds together with two more.
constexpr int64_t kFewChannels = 128;
constexpr int64_t kActivations = 4 << 20;

}  // namespace

FrozenEncoder::FrozenEncoder(const core::Parameters& parameters, const encoders::EncoderLayout& layout,
                             at::IntArrayRef input, at::ScalarType type, Filtering filtering,
                             const core::Quantization* quantization)
    : name_(layout.name), type_(type), pool_(layout.pool), pool_frequency_(layout.pool_frequency) {
  const at::NoGradGuard no_grad;
  const auto convolution = [&](const std::string& name, const std::string& norm, int64_t stride, int64_t padding,
                               at::IntArrayRef sizes, at::ScalarType number) {
    return Convolution(folded(parameters, name, norm), stride, padding, sizes, number, filtering);
  };
  constexpr int64_t kStemStride = 2, kStemPadding = 3;
  const FoldedConvolution stem = folded(parameters, layout.stem, layout.name + ".bn1");
  if (type == at::kFloat && filtering == Filtering::kFastest && kernels::Stem::fits(stem.weight)) {
    fused_stem_.emplace(stem.scaled(), stem.bias);
  } else {
    stem_.emplace(stem, kStemStride, kStemPadding, input, type, filtering);
  }
  std::vector<int64_t> sizes = convolved(input, stem.weight.size(0), stem.weight.size(2), kStemStride, kStemPadding);
  sizes = {sizes[0], sizes[1], (sizes[2] + 1) / 2, (sizes[3] + 1) / 2};  // the pooling
  const int64_t bytes = sizes[1] * sizes[2] * sizes[3] * static_cast<int64_t>(sizeof(float));
  together_ = std::max<int64_t>(1, kActivations / bytes);
  const auto add_block = [&](const std::string& name, int64_t stride) {
    Convolution first = convolution(name + ".conv1", name + ".bn1", stride, 1, sizes, type);
    const std::vector<int64_t> inner = first.output(sizes);
    Convolution second = convolution(name + ".conv2", name + ".bn2", 1, 1, inner, type);
    // Shortcuts and the projection are few products, and their rounding reaches the result undamped: always float32.
    std::optional<Convolution> shortcut;
    if (parameters.has(name + ".downsample.0.weight")) {
      shortcut = convolution(name + ".downsample.0", name + ".downsample.1", stride, 0, sizes, at::kFloat);
    }
    blocks_.push_back({name, std::move(first), std::move(second), std::move(shortcut)});
    sizes = inner;
    if (sizes[1] <= kFewChannels) early_ = blocks_.size();
  };
  if (quantization) {
    quantized_.emplace(parameters, layout, *quantization, sizes);
    sizes = quantized_->output();
  } else {
    each_block(layout, add_block);
  }
  if (layout.projections.empty()) return;
  for (const std::string& projection : layout.projections) {
    core::check_weights(parameters[projection + ".weight"], {}, parameters[projection + ".bias"],
                        core::kMostOfConvolution, projection);
  }
  if (pool_) sizes = {sizes[0], sizes[1], 1, 1};
  const auto [weight, bias] = encoders::joined_projections(parameters, layout);
  projection_ = Convolution({weight.detach(), {}, bias.detach()}, 1, 0, sizes, at::kFloat, filtering);
}

Tensor FrozenEncoder::begin(const Tensor& input) const {
  const auto passed = [&] {
    if (fused_stem_) return (*fused_stem_)(input);
    const auto options = input.options().dtype(type_);
    const Tensor x = at::empty(input.sizes(), options, at::MemoryFormat::ChannelsLast).copy_(input);
    return max_pool((*stem_)(x, /*relu=*/true));
  };
  const Tensor y = passed();
  core::check_activations(y, name_ + "'s first convolution");
  return y;
}

Tensor FrozenEncoder::pass(const Block& block, const Tensor& input, const Observe& observe) const {
  if (observe) observe(block.name + ".conv1", input);
  const Tensor x = block.shortcut ? input : input.to(block.second.type());
  const Tensor inner = block.first(x, /*relu=*/true);
  if (observe) observe(block.name + ".conv2", inner);
  const Tensor y = block.second.add_to(block.shortcut ? (*block.shortcut)(x, /*relu=*/false) : x, inner);
  core::check_activations(y, block.name);
  return y;
}

Tensor FrozenEncoder::pass_early(const Tensor& input, const Observe& observe) const {
  Tensor x = begin(input);
  for (size_t i = 0; i < early_; ++i) x = pass(blocks_[i], x, observe);
  return x;
}

Tensor FrozenEncoder::forward(const Tensor& given, const Observe& observe) const {
  const Tensor input = given.contiguous();
  if (!core::within_bounds(input, core::kMostOfInput)) {
    throw Error("ERR_INPUT", "An image or a spectrogram has values beyond ±1e6. Prepare it as in training.");
  }
  Tensor x;
  if (quantized_) {
    x = quantized_->forward(begin(input));
    core::check_activations(x, name_ + "'s blocks");
  } else {
    std::vector<Tensor> parts;
    for (const Tensor& part : input.split(together_)) parts.push_back(pass_early(part, observe));
    x = parts.size() == 1 ? parts.front() : at::cat(parts);
  }
  for (size_t i = early_; i < blocks_.size(); ++i) x = pass(blocks_[i], x, observe);
  if (pool_) x = at::amax(x, {2, 3}, /*keepdim=*/true).contiguous(at::MemoryFormat::ChannelsLast);
  if (projection_) x = (*projection_)(x, /*relu=*/false);
  x = x.to(at::kFloat);  // [B, H·D, h, w]
  core::check_activations(x, name_ + "'s projection");
  if (pool_frequency_) return at::amax(x, 2).transpose(1, 2);
  return x.flatten(2).transpose(1, 2);
}

Tensor max_pool(const Tensor& input) {
  const Tensor x = input.contiguous(at::MemoryFormat::ChannelsLast);
  const int64_t batch = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
  const int64_t rows = (height + 1) / 2, columns = (width + 1) / 2;
  const Tensor out = at::empty({batch, channels, rows, columns}, x.options(), at::MemoryFormat::ChannelsLast);
  const auto pool = [&](const auto* from, auto* to, const auto& kernel) {
    core::in_parts(batch * rows, 1, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t sample = begin / rows, row = begin % rows, until = std::min(rows, row + end - begin);
        kernel(from + sample * height * width * channels, height, width, channels,
               to + sample * rows * columns * channels, row, until);
        begin += until - row;
      }
    });
  };
  if (x.scalar_type() == at::kBFloat16) {
    using Bits = kernels::bfloat16_bits;
    pool(reinterpret_cast<const Bits*>(x.const_data_ptr<at::BFloat16>()),
         reinterpret_cast<Bits*>(out.mutable_data_ptr<at::BFloat16>()), kernels::kernels().max_pool_bfloat16);
  } else {
    pool(x.const_data_ptr<float>(), out.mutable_data_ptr<float>(), kernels::kernels().max_pool_float);
  }
  return out;
}

}  // namespace soundspot::inference
