// The two ResNet encoders: images and spectrograms to tokens.
#pragma once

#include "core/draws.h"
#include "core/initialize.h"
#include "distributed/peers.h"
#include "encoders/config.h"

namespace soundspot::encoders {

constexpr double kBatchNormEpsilon = 1e-5;
constexpr int64_t kBlocks = 2;  // basic blocks a stage, as in ResNet-18

/// How a forward pass is computed.
enum class Pass {
  kEvaluation,       // running statistics, by LibTorch's own operators
  kFusedEvaluation,  // the same, by the device's fused kernels where it has them; it can be differentiated
  kTraining,         // statistics of the batch, the running ones updated, by fused kernels
  kPlainTraining,    // the same by LibTorch's own operators, to compare with
};

/// Draws of a training pass, for dropout.
struct Dropout {
  core::Draws draws;
  core::Share share;  // the samples of the input within the batch of all processes
  int64_t pass = 0;   // each pass over the same samples has draws of its own
};

/// How an encoder computes.
struct ForwardOptions {
  Pass pass = Pass::kEvaluation;
  distributed::PeersPointer peers = {};  // in training, statistics are of the samples of all of them
  std::optional<Dropout> dropout = {};   // without it nothing is dropped
};

/// Tokens of both encoders, [B, N, D] each; with H heads [B, N, H·D], the heads' features in a row.
struct EncoderOutputs {
  Tensor image, audio;
};

/// A tensor that files may have and no computation uses.
struct UnusedTensor {
  std::string name;
  std::vector<int64_t> sizes;
  at::ScalarType type = at::kFloat;
};

/// Names and sizes of an encoder.
struct EncoderLayout {
  Modality modality = Modality::kImage;
  std::string name;                           // imgnet or audnet
  std::string stem;                           // imgnet.conv1
  std::vector<std::string> projections = {};  // imgnet.proj; one for each head, none where features are tokens
  int64_t channels = 3;
  int64_t width = 64;
  int64_t dim = 512;
  std::vector<int64_t> strides = {};  // of each stage
  Projection projection = Projection::kPointwise;
  bool pool_frequency = false;  // behind the projection
  bool pool = false;            // over height and width, before the projection
  double dropout = 0;           // of the features before the projection
  bool normal_scales = false;   // batch norm's weights begin as N(1, 0.02)
};

/// A ResNet of basic blocks without global pooling and classifier, then a projection to D features.
class Encoder {
 public:
  /// `imgnet`: 3 input channels, tokens row-major over the image.
  static Encoder image(const ModelConfig& config, int64_t heads = 1);
  /// `audnet`: 1 input channel; tokens over time, or one.
  static Encoder audio(const ModelConfig& config, int64_t heads = 1);

  /// The same encoder over parameters whose names begin with `prefix`.
  Encoder prefixed(const std::string& prefix) const;

  const EncoderLayout& layout() const { return layout_; }

  void initialize(core::Initializer& initializer) const;

  /// Tensors that files with these names have besides.
  const std::vector<UnusedTensor>& unused() const { return unused_; }

  /// `input` is [B, 3, h, w] or [B, 1, F, T], float32.
  /// @return tokens [B, N, H·D].
  Tensor forward(const core::Parameters& parameters, const Tensor& input, const ForwardOptions& options = {}) const;

  /// Features of the last stage, before the projection: [B, C, h, w].
  Tensor trunk(const core::Parameters& parameters, const Tensor& input, const ForwardOptions& options = {}) const;

 private:
  Encoder(EncoderLayout layout, std::vector<UnusedTensor> unused)
      : layout_(std::move(layout)), unused_(std::move(unused)) {}

  Tensor block(const core::Parameters& parameters, const std::string& name, const Tensor& input, int64_t stride,
               const ForwardOptions& options) const;
  Tensor dropped(const Tensor& features, const Dropout& dropout) const;

  EncoderLayout layout_;
  std::vector<UnusedTensor> unused_;
};

/// Weight [H·D, C, 1, 1] and bias [H·D] of all heads' projections, the heads in a row.
/// @pre the layout has projections.
std::pair<Tensor, Tensor> joined_projections(const core::Parameters& parameters, const EncoderLayout& layout);

}  // namespace soundspot::encoders
