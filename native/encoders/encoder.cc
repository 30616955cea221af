#include "encoders/encoder.h"

#include "kernels/normalization.h"
#include "kernels/products.h"

namespace soundspot::encoders {

namespace {

constexpr double kBatchNormMomentum = 0.1;
constexpr int64_t kVector = 16;     // floats
constexpr int64_t kStemStride = 4;  // the 7×7 convolution and the pooling halve once each

/// A convolution of one pixel as a product: the features of each pixel, which lie together in channels-last order.
Tensor pointwise(const Tensor& input, const Tensor& weight, const Tensor& bias, int64_t stride) {
  const Tensor pixels = stride == 1 ? input : input.slice(2, 0, std::nullopt, stride).slice(3, 0, std::nullopt, stride);
  return kernels::linear(pixels.permute({0, 2, 3, 1}), weight.flatten(1), bias).permute({0, 3, 1, 2});
}

Tensor convolve(const core::Parameters& parameters, const std::string& name, const Tensor& input, int64_t stride,
                int64_t padding) {
  const Tensor& weight = parameters[name + ".weight"];
  const Tensor bias = parameters.has(name + ".bias") ? parameters[name + ".bias"] : Tensor();
  // oneDNN's gradient of a convolution of one pixel writes past its memory where channels do not fill a vector.
  const bool fills = weight.size(0) % kVector == 0 && weight.size(1) % kVector == 0;
  if (weight.size(2) == 1 && weight.size(3) == 1 && !fills) return pointwise(input, weight, bias, stride);
  return at::conv2d(input, weight, bias, stride, padding);
}

/// Batch norm, plus `residual` where it is defined, then ReLU where it is wanted.
Tensor batch_norm(const core::Parameters& parameters, const std::string& name, const Tensor& input, Pass pass,
                  const distributed::PeersPointer& peers, bool relu, const Tensor& residual = {}) {
  const bool training = pass != Pass::kEvaluation;
  if (training) parameters[name + ".num_batches_tracked"].add_(1);
  const Tensor &weight = parameters[name + ".weight"], &bias = parameters[name + ".bias"],
               &mean = parameters[name + ".running_mean"], &variance = parameters[name + ".running_var"];
  if (pass == Pass::kTraining) {
    return kernels::batch_norm(input, {weight, bias, mean, variance, kBatchNormMomentum, kBatchNormEpsilon, peers},
                               residual, relu);
  }
  Tensor x = at::batch_norm(input, weight, bias, mean, variance, training, kBatchNormMomentum, kBatchNormEpsilon,
                            /*cudnn_enabled=*/true);
  if (residual.defined()) x = x + residual;
  return relu ? x.relu_() : x;
}

}  // namespace

Encoder Encoder::image(const ModelConfig& config) {
  EncoderLayout layout{
      .name = "imgnet", .stem = "conv1", .projection = "proj", .width = config.image_width, .dim = config.dim};
  int64_t total = kStemStride;
  for (int64_t stage = 0; stage < config.image_stages; ++stage) {
    const int64_t stride = stage > 0 && total * 2 <= config.image_stride ? 2 : 1;
    total *= stride;
    layout.strides.push_back(stride);
  }
  return Encoder(std::move(layout));
}

Encoder Encoder::audio(const ModelConfig& config) {
  EncoderLayout layout{.name = "audnet",
                       .stem = "conv1_1",
                       .projection = "proj.0",
                       .channels = 1,
                       .width = config.audio_width,
                       .dim = config.dim,
                       .pool_frequency = true};
  for (int64_t stage = 0; stage < config.audio_stages; ++stage) layout.strides.push_back(stage > 0 ? 2 : 1);
  return Encoder(std::move(layout));
}

void Encoder::initialize(core::Initializer& initializer) const {
  initializer.convolution(layout_.name + "." + layout_.stem, layout_.width, layout_.channels, 7, /*bias=*/false);
  initializer.batch_norm(layout_.name + ".bn1", layout_.width);
  int64_t in = layout_.width;
  for (size_t stage = 0; stage < layout_.strides.size(); ++stage) {
    const int64_t out = layout_.width << stage;
    for (int64_t index = 0; index < kBlocks; ++index) {
      const std::string block = layout_.name + ".layer" + std::to_string(stage + 1) + "." + std::to_string(index);
      initializer.convolution(block + ".conv1", out, in, 3, false);
      initializer.batch_norm(block + ".bn1", out);
      initializer.convolution(block + ".conv2", out, out, 3, false);
      initializer.batch_norm(block + ".bn2", out);
      if (in != out) {
        initializer.convolution(block + ".downsample.0", out, in, 1, false);
        initializer.batch_norm(block + ".downsample.1", out);
      }
      in = out;
    }
  }
  initializer.convolution(layout_.name + "." + layout_.projection, layout_.dim, in, 1, /*bias=*/true);
}

Tensor Encoder::block(const core::Parameters& parameters, const std::string& name, const Tensor& input, int64_t stride,
                      Pass pass, const distributed::PeersPointer& peers) const {
  Tensor x = convolve(parameters, name + ".conv1", input, stride, 1);
  x = batch_norm(parameters, name + ".bn1", x, pass, peers, /*relu=*/true);
  x = convolve(parameters, name + ".conv2", x, 1, 1);
  Tensor shortcut = input;
  if (parameters.has(name + ".downsample.0.weight")) {
    shortcut = convolve(parameters, name + ".downsample.0", input, stride, 0);
    shortcut = batch_norm(parameters, name + ".downsample.1", shortcut, pass, peers, /*relu=*/false);
  }
  return batch_norm(parameters, name + ".bn2", x, pass, peers, /*relu=*/true, shortcut);
}

Tensor Encoder::trunk(const core::Parameters& parameters, const Tensor& input, Pass pass,
                      const distributed::PeersPointer& peers) const {
  Tensor x = input.contiguous(at::MemoryFormat::ChannelsLast);
  x = convolve(parameters, layout_.name + "." + layout_.stem, x, 2, 3);
  x = batch_norm(parameters, layout_.name + ".bn1", x, pass, peers, /*relu=*/true);
  x = pass == Pass::kTraining ? kernels::max_pool(x) : at::max_pool2d(x, 3, 2, 1);
  for (size_t stage = 0; stage < layout_.strides.size(); ++stage) {
    const std::string name = layout_.name + ".layer" + std::to_string(stage + 1);
    x = block(parameters, name + ".0", x, layout_.strides[stage], pass, peers);
    x = block(parameters, name + ".1", x, 1, pass, peers);
  }
  return x;
}

Tensor Encoder::forward(const core::Parameters& parameters, const Tensor& input, Pass pass,
                        const distributed::PeersPointer& peers) const {
  Tensor x = trunk(parameters, input, pass, peers);
  const std::string projection = layout_.name + "." + layout_.projection;
  x = convolve(parameters, projection, x, 1, 0);  // [B, D, h, w]
  x = x.to(at::kFloat);
  if (layout_.pool_frequency) return at::amax(x, 2).transpose(1, 2);  // [B, D, t] → [B, t, D]
  return x.flatten(2).transpose(1, 2);                                // [B, h·w, D]
}

}  // namespace soundspot::encoders
