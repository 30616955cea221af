#include "encoders/encoder.h"

#include "kernels/convolution.h"
#include "kernels/device.h"
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

Tensor convolve(const Tensor& input, const Tensor& weight, const Tensor& bias, int64_t stride, int64_t padding) {
  // oneDNN's gradient of a convolution of one pixel writes past its memory where channels do not fill a vector.
  const bool fills = weight.size(0) % kVector == 0 && weight.size(1) % kVector == 0;
  if (weight.size(2) == 1 && weight.size(3) == 1 && !fills) return pointwise(input, weight, bias, stride);
  return at::conv2d(input, weight, bias, stride, padding);
}

/// Without a bias, as before batch norm.
Tensor convolve(const core::Parameters& parameters, const std::string& name, const Tensor& input, int64_t stride,
                int64_t padding, const ForwardOptions& options) {
  const Tensor& weight = parameters[name + ".weight"];
  if (options.pass == Pass::kTraining && stride == 1 && padding == 1 && kernels::convolution_fits(input, weight)) {
    return kernels::convolution(input, weight);
  }
  return convolve(input, weight, {}, stride, padding);
}

/// Batch norm by the statistics of all processes' samples, in LibTorch's own operators.
Tensor shared_batch_norm(const Tensor& input, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
                         const Tensor& running_var, const distributed::PeersPointer& peers) {
  const auto channels = [](const Tensor& of) { return of.view({1, -1, 1, 1}); };
  // Every process has as many samples: the mean over all is that of the processes' means.
  const auto over_all = [&](const Tensor& x) {
    return distributed::gathered(x.mean({0, 2, 3}).unsqueeze(0), peers).mean(0);
  };
  const Tensor x = input.to(at::kFloat), mean = over_all(x), centred = x - channels(mean),
               variance = over_all(centred * centred);
  {
    const at::NoGradGuard no_grad;
    const auto rows = static_cast<double>(input.numel() / input.size(1) * peers->size());
    Tensor(running_mean).mul_(1 - kBatchNormMomentum).add_(mean, kBatchNormMomentum);
    Tensor(running_var)
        .mul_(1 - kBatchNormMomentum)
        .add_(variance, kBatchNormMomentum * (rows > 1 ? rows / (rows - 1) : 1));
  }
  const Tensor scale = weight * at::rsqrt(variance + kBatchNormEpsilon);
  return (centred * channels(scale) + channels(bias)).to(input.scalar_type());
}

/// Batch norm, plus `residual` where it is defined, then ReLU where it is wanted.
Tensor batch_norm(const core::Parameters& parameters, const std::string& name, const Tensor& input,
                  const ForwardOptions& options, bool relu, const Tensor& residual = {}) {
  const bool training = options.pass == Pass::kTraining || options.pass == Pass::kPlainTraining;
  if (training) parameters[name + ".num_batches_tracked"].add_(1);
  const Tensor &weight = parameters[name + ".weight"], &bias = parameters[name + ".bias"],
               &mean = parameters[name + ".running_mean"], &variance = parameters[name + ".running_var"];
  if (options.pass == Pass::kTraining) {
    return kernels::batch_norm(
        input, {weight, bias, mean, variance, kBatchNormMomentum, kBatchNormEpsilon, options.peers}, residual, relu);
  }
  const bool fixed = options.pass == Pass::kFusedEvaluation;
  if (const auto* const own = fixed ? kernels::kernels_of(input.device()) : nullptr) {
    return own->batch_norm(input, {weight, bias, mean, variance, kBatchNormMomentum, kBatchNormEpsilon, {}}, residual,
                           relu, /*fixed=*/true);
  }
  Tensor x = training && options.peers
                 ? shared_batch_norm(input, weight, bias, mean, variance, options.peers)
                 : at::batch_norm(input, weight, bias, mean, variance, training, kBatchNormMomentum, kBatchNormEpsilon,
                                  /*cudnn_enabled=*/true);
  if (residual.defined()) x = x + residual;
  return relu ? x.relu_() : x;
}

/// Strides of the stages: each after the first halves, until `stride` is reached.
std::vector<int64_t> strides_of(int64_t stages, int64_t stride) {
  std::vector<int64_t> strides;
  int64_t total = kStemStride;
  for (int64_t stage = 0; stage < stages; ++stage) {
    strides.push_back(stage > 0 && total * 2 <= stride ? 2 : 1);
    total *= strides.back();
  }
  return strides;
}

/// `name`, or with several heads name1, name2, ….
std::vector<std::string> of_heads(const std::string& name, int64_t heads, Projection projection) {
  if (projection == Projection::kNone) return {};
  if (heads == 1) return {name};
  std::vector<std::string> names;
  for (int64_t head = 1; head <= heads; ++head) names.push_back(name + std::to_string(head));
  return names;
}

constexpr int64_t kClasses = 1000;  // of ImageNet

/// What LVS's files have in each encoder beside its own stem: the stems of audio, images and optical flow, and a
/// classifier.
std::vector<UnusedTensor> unused_of_lvs(const EncoderLayout& layout) {
  const int64_t width = layout.width, features = width << (layout.strides.size() - 1);
  std::vector<UnusedTensor> unused;
  const std::pair<const char*, int64_t> stems[] = {{".conv1_a", 1}, {".conv1", 3}, {".conv1_flow", 6}};
  for (const auto& [stem, channels] : stems) {
    if (layout.name + stem != layout.stem) unused.push_back({layout.name + stem + ".weight", {width, channels, 7, 7}});
  }
  unused.push_back({layout.name + ".fc.weight", {kClasses, features}});
  unused.push_back({layout.name + ".fc.bias", {kClasses}});
  return unused;
}

}  // namespace

Encoder Encoder::image(const ModelConfig& config, int64_t heads) {
  const bool below = config.names != Names::kEzVsl;
  EncoderLayout layout{.modality = Modality::kImage,
                       .name = "imgnet",
                       .stem = "imgnet.conv1",
                       .projections = of_heads(below ? "imgnet.proj" : "img_proj", heads, config.image_projection),
                       .width = config.image_width,
                       .dim = config.dim,
                       .strides = strides_of(config.image_stages, config.image_stride),
                       .projection = config.image_projection,
                       .dropout = config.image_dropout,
                       .normal_scales = config.normal_scales};
  std::vector<UnusedTensor> unused;
  if (config.names == Names::kLvs) unused = unused_of_lvs(layout);
  return {std::move(layout), std::move(unused)};
}

Encoder Encoder::audio(const ModelConfig& config, int64_t heads) {
  const Names names = config.names;
  const bool below = names != Names::kEzVsl, several = heads > 1;
  const std::string projection = !below ? "aud_proj" : several ? "audnet.proj" : "audnet.proj.0";
  EncoderLayout layout{.modality = Modality::kAudio,
                       .name = "audnet",
                       .stem = names == Names::kEzVsl ? "audnet.conv1"
                               : names == Names::kLvs ? "audnet.conv1_a"
                                                      : "audnet.conv1_1",
                       .projections = of_heads(projection, heads, config.audio_projection),
                       .channels = 1,
                       .width = config.audio_width,
                       .dim = config.dim,
                       .strides = strides_of(config.audio_stages, config.audio_stride),
                       .projection = config.audio_projection,
                       .pool_frequency = config.audio_pooling == AudioPooling::kFrequency,
                       .pool = config.audio_pooling == AudioPooling::kGlobal,
                       .dropout = config.audio_dropout,
                       .normal_scales = config.normal_scales};
  std::vector<UnusedTensor> unused;
  if (names == Names::kLvs) unused = unused_of_lvs(layout);
  return {std::move(layout), std::move(unused)};
}

Encoder Encoder::prefixed(const std::string& prefix) const {
  EncoderLayout layout = layout_;
  layout.name = prefix + layout.name;
  layout.stem = prefix + layout.stem;
  for (std::string& projection : layout.projections) projection = prefix + projection;
  return {std::move(layout), {}};
}

void Encoder::initialize(core::Initializer& initializer) const {
  const auto batch_norm = [&](const std::string& name, int64_t channels) {
    initializer.batch_norm(name, channels, layout_.normal_scales);
  };
  initializer.convolution(layout_.stem, layout_.width, layout_.channels, 7, /*bias=*/false);
  batch_norm(layout_.name + ".bn1", layout_.width);
  int64_t in = layout_.width;
  for (size_t stage = 0; stage < layout_.strides.size(); ++stage) {
    const int64_t out = layout_.width << stage;
    for (int64_t index = 0; index < kBlocks; ++index) {
      const std::string block = layout_.name + ".layer" + std::to_string(stage + 1) + "." + std::to_string(index);
      initializer.convolution(block + ".conv1", out, in, 3, false);
      batch_norm(block + ".bn1", out);
      initializer.convolution(block + ".conv2", out, out, 3, false);
      batch_norm(block + ".bn2", out);
      if (in != out) {
        initializer.convolution(block + ".downsample.0", out, in, 1, false);
        batch_norm(block + ".downsample.1", out);
      }
      in = out;
    }
  }
  for (const std::string& projection : layout_.projections) {
    if (layout_.projection == Projection::kPointwise) {
      initializer.convolution(projection, layout_.dim, in, 1, /*bias=*/true);
    } else {
      initializer.narrow_linear(projection, layout_.dim, in);
    }
  }
}

Tensor Encoder::block(const core::Parameters& parameters, const std::string& name, const Tensor& input, int64_t stride,
                      const ForwardOptions& options) const {
  Tensor x = convolve(parameters, name + ".conv1", input, stride, 1, options);
  x = batch_norm(parameters, name + ".bn1", x, options, /*relu=*/true);
  x = convolve(parameters, name + ".conv2", x, 1, 1, options);
  Tensor shortcut = input;
  if (parameters.has(name + ".downsample.0.weight")) {
    shortcut = convolve(parameters, name + ".downsample.0", input, stride, 0, options);
    shortcut = batch_norm(parameters, name + ".downsample.1", shortcut, options, /*relu=*/false);
  }
  return batch_norm(parameters, name + ".bn2", x, options, /*relu=*/true, shortcut);
}

Tensor Encoder::trunk(const core::Parameters& parameters, const Tensor& input, const ForwardOptions& options) const {
  Tensor x = input.contiguous(at::MemoryFormat::ChannelsLast);
  x = convolve(parameters, layout_.stem, x, 2, 3, options);
  x = batch_norm(parameters, layout_.name + ".bn1", x, options, /*relu=*/true);
  x = options.pass == Pass::kTraining ? kernels::max_pool(x) : at::max_pool2d(x, 3, 2, 1);
  for (size_t stage = 0; stage < layout_.strides.size(); ++stage) {
    const std::string name = layout_.name + ".layer" + std::to_string(stage + 1);
    x = block(parameters, name + ".0", x, layout_.strides[stage], options);
    x = block(parameters, name + ".1", x, 1, options);
  }
  return x;
}

Tensor Encoder::dropped(const Tensor& features, const Dropout& dropout) const {
  const core::Place place =
      layout_.modality == Modality::kImage ? core::Place::kImageDropout : core::Place::kAudioDropout;
  const int64_t count = features.size(0), each = features.numel() / count;
  const Tensor draws =
      dropout.draws.uniform(core::repeated(place, dropout.pass), dropout.share, count, each, features.device());
  const Tensor kept = (draws >= layout_.dropout).to(features.scalar_type()).div_(1 - layout_.dropout);
  return features * kept.view(features.sizes());
}

Tensor Encoder::forward(const core::Parameters& parameters, const Tensor& input, const ForwardOptions& options) const {
  Tensor x = trunk(parameters, input, options);
  if (layout_.pool) x = at::amax(x, {2, 3}, /*keepdim=*/true);
  if (options.dropout && layout_.dropout > 0) x = dropped(x, *options.dropout);
  if (!layout_.projections.empty()) {
    const auto [weight, bias] = joined_projections(parameters, layout_);
    x = convolve(x, weight, bias, 1, 0);  // [B, H·D, h, w]
  }
  x = x.to(at::kFloat);
  if (layout_.pool_frequency) return at::amax(x, 2).transpose(1, 2);  // [B, H·D, t] → [B, t, H·D]
  return x.flatten(2).transpose(1, 2);                                // [B, h·w, H·D]
}

std::pair<Tensor, Tensor> joined_projections(const core::Parameters& parameters, const EncoderLayout& layout) {
  std::vector<Tensor> weights, biases;
  for (const std::string& projection : layout.projections) {
    const Tensor& weight = parameters[projection + ".weight"];
    weights.push_back(weight.dim() == 4 ? weight : weight.unsqueeze(2).unsqueeze(3));
    biases.push_back(parameters[projection + ".bias"]);
  }
  if (weights.size() == 1) return {weights.front(), biases.front()};
  return {at::cat(weights), at::cat(biases)};
}

}  // namespace soundspot::encoders
