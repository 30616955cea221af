// The two ResNet encoders: images and spectrograms to tokens.
#pragma once

#include "core/initialize.h"
#include "distributed/peers.h"
#include "encoders/config.h"

namespace soundspot::encoders {

constexpr double kBatchNormEpsilon = 1e-5;
constexpr int64_t kBlocks = 2;  // basic blocks a stage, as in ResNet-18

/// How a forward pass is computed.
enum class Pass {
  kEvaluation,     // running statistics
  kTraining,       // statistics of the batch, the running ones updated, by fused kernels
  kPlainTraining,  // the same by LibTorch's own operators, to compare with
};

/// Tokens of both encoders, [B, N, D] each.
struct EncoderOutputs {
  Tensor image, audio;
};

/// Names and sizes of an encoder.
struct EncoderLayout {
  std::string name;        // imgnet or audnet
  std::string stem;        // conv1 or conv1_1
  std::string projection;  // proj or proj.0
  int64_t channels = 3;
  int64_t width = 64;
  int64_t dim = 512;
  std::vector<int64_t> strides = {};  // of each stage
  bool pool_frequency = false;
};

/// A ResNet of basic blocks without global pooling and classifier, then a 1×1 projection to D.
class Encoder {
 public:
  /// `imgnet`: 3 input channels, tokens row-major over the image.
  static Encoder image(const ModelConfig& config);
  /// `audnet`: 1 input channel, maximum over frequency, tokens over time.
  static Encoder audio(const ModelConfig& config);

  const EncoderLayout& layout() const { return layout_; }

  void initialize(core::Initializer& initializer) const;

  /// `input` is [B, 3, size, size] or [B, 1, F, T], float32. With `peers`, statistics in training are of the samples of
  /// all of them.
  /// @return tokens [B, N, D].
  Tensor forward(const core::Parameters& parameters, const Tensor& input, Pass pass,
                 const distributed::PeersPointer& peers = {}) const;

  /// Features of the last stage, before the projection: [B, C, h, w].
  Tensor trunk(const core::Parameters& parameters, const Tensor& input, Pass pass,
               const distributed::PeersPointer& peers = {}) const;

 private:
  explicit Encoder(EncoderLayout layout) : layout_(std::move(layout)) {}

  Tensor block(const core::Parameters& parameters, const std::string& name, const Tensor& input, int64_t stride,
               Pass pass, const distributed::PeersPointer& peers) const;

  EncoderLayout layout_;
};

}  // namespace soundspot::encoders
