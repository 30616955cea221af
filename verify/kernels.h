// The fused kernels behind one interface: the GPU's, or the same source on the host, block by block.
#pragma once

#include <memory>

#include "kernels/cuda/kernels.h"

namespace soundspot::verify {

namespace fused = kernels::cuda;

/// Parameters and results as in native/kernels/cuda/kernels.h.
class Kernels {
 public:
  virtual ~Kernels() = default;
  virtual Tensor batch_norm(const Tensor& x, const kernels::BatchNorm& norm, const Tensor& residual, bool relu,
                            bool fixed) const = 0;
  virtual fused::SlotAttentionResult slot_attention(const Tensor& tokens, const Tensor& initial,
                                                    const fused::SlotAttentionWeights& weights, int64_t iterations,
                                                    bool bfloat16, const fused::JoinedSlotWeights* joined) const = 0;
  virtual fused::JoinedSlotWeights join(const fused::SlotAttentionWeights& weights) const = 0;
  virtual Tensor cross_attention(const Tensor& queries, const Tensor& tokens, const kernels::Linear& key, bool bfloat16,
                                 double sharpening) const = 0;
  virtual Tensor matching(const Tensor& audio_on_image, const Tensor& image_on_image, const Tensor& image_on_audio,
                          const Tensor& audio_on_audio, int64_t targets) const = 0;
  virtual fused::Heatmap heatmap(const Tensor& target_rows, int64_t side, int64_t height, int64_t width,
                                 const fused::MapResize& resize, const std::optional<std::pair<double, double>>& range,
                                 const std::optional<double>& threshold) const = 0;
  virtual fused::GradientNorm gradient_norm(const std::vector<Tensor>& gradients, double clip,
                                            const Tensor& losses) const = 0;
  virtual void adam_step(const fused::AdamState& state, const fused::AdamNumbers& numbers, const Tensor& learning_rate,
                         const Tensor& taken, const Tensor& divisor) const = 0;
};

std::unique_ptr<const Kernels> gpu_kernels();
std::unique_ptr<const Kernels> host_kernels();

}  // namespace soundspot::verify
