#include "inference/cpu/quantized_blocks.h"

#include "core/bounds.h"
#include "inference/cpu/folding.h"
#include "kernels/cpu/kernels.h"

namespace soundspot::inference {

namespace {

constexpr int64_t kAtATime = 16384;  // numbers

std::string shortcut_of(const std::string& block) { return block + ".downsample.0"; }

}  // namespace

std::vector<std::pair<std::string, std::string>> quantized_names(const core::Parameters& parameters,
                                                                 const encoders::EncoderLayout& layout) {
  std::vector<std::pair<std::string, std::string>> names;
  each_block(layout, [&](const std::string& block, int64_t) {
    const std::string first = block + ".conv1", second = block + ".conv2", shortcut = shortcut_of(block);
    names.insert(names.end(), {{first, first}, {second, second}});
    if (parameters.has(shortcut + ".weight")) names.emplace_back(shortcut, first);
  });
  return names;
}

QuantizedBlocks::QuantizedBlocks(const core::Parameters& parameters, const encoders::EncoderLayout& layout,
                                 const core::Quantization& quantization, std::vector<int64_t> sizes) {
  const auto convolution = [&](const std::string& name, const std::string& norm, int64_t stride, int64_t padding,
                               at::IntArrayRef input) {
    const auto [factor, shift] = affine_of(parameters, norm);
    const core::HeldConvolution& held = quantization.at(name);
    const bool whole = weight_levels() == core::kWeightLevels;
    const core::QuantizedWeight weight =
        whole ? held.weight() : core::quantized(core::dequantized(held.weight()), weight_levels());
    // The factor of the batch norm, of any sign, goes into the scales.
    const Tensor scales = (weight.scales * factor).to(at::kFloat), bias = shift.to(at::kFloat);
    core::check_weights(core::dequantized({weight.values, scales}), {}, bias, core::kMostOfConvolution,
                        name + " with " + norm);
    const auto pack = [&](const Tensor& values) {
      return QuantizedConvolution::packed(values, held.step, stride, padding, input);
    };
    return QuantizedConvolution(whole ? held.values.packed(pack) : pack(weight.values), scales, bias, held.step, stride,
                                padding);
  };
  each_block(layout, [&](const std::string& name, int64_t stride) {
    QuantizedConvolution first = convolution(name + ".conv1", name + ".bn1", stride, 1, sizes);
    const std::vector<int64_t> inner = first.output(sizes);
    QuantizedConvolution second = convolution(name + ".conv2", name + ".bn2", 1, 1, inner);
    std::optional<QuantizedConvolution> shortcut;
    if (parameters.has(shortcut_of(name) + ".weight")) {
      shortcut = convolution(shortcut_of(name), name + ".downsample.1", stride, 0, sizes);
    }
    blocks_.push_back({std::move(first), std::move(second), std::move(shortcut)});
    sizes = inner;
  });
  output_ = std::move(sizes);
}

Tensor QuantizedBlocks::forward(const Tensor& input) const {
  Tensor x = to_steps(input, blocks_.front().first.step());
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const auto& [first, second, shortcut] = blocks_[i];
    const bool last = i + 1 == blocks_.size();
    const Tensor inner = first(x, second.step());
    if (!shortcut && !last) {
      x = second.add_to(x, first.step(), inner, blocks_[i + 1].first.step());
      continue;
    }
    const Tensor sum = shortcut ? shortcut->real(x) : x.to(at::kFloat).mul_(first.step());
    x = second.add_to(sum, inner);
    if (!last) x = to_steps(x, blocks_[i + 1].first.step());
  }
  return x;
}

Tensor to_steps(const Tensor& x, float step) {
  const Tensor out = at::empty(x.sizes(), x.options().dtype(at::kByte), at::MemoryFormat::ChannelsLast);
  const auto* const from = x.const_data_ptr<float>();
  auto* const to = out.mutable_data_ptr<uint8_t>();
  at::parallel_for(0, x.numel(), kAtATime, [&](int64_t begin, int64_t end) {
    kernels::kernels().to_bytes(from + begin, 1.0F / step, end - begin, to + begin);
  });
  return out;
}

}  // namespace soundspot::inference
