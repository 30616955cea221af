#include "verify/kernels.h"

namespace soundspot::verify {
namespace {

class Gpu final : public Kernels {
 public:
  Tensor batch_norm(const Tensor& x, const kernels::BatchNorm& norm, const Tensor& residual, bool relu,
                    bool fixed) const override {
    return fused::batch_norm(x, norm, residual, relu, fixed);
  }
  fused::SlotAttentionResult slot_attention(const Tensor& tokens, const Tensor& initial,
                                            const fused::SlotAttentionWeights& weights, int64_t iterations,
                                            bool bfloat16, const fused::JoinedSlotWeights* joined) const override {
    return fused::slot_attention(tokens, initial, weights, iterations, bfloat16, joined);
  }
  fused::JoinedSlotWeights join(const fused::SlotAttentionWeights& weights) const override {
    return fused::join(weights);
  }
  Tensor cross_attention(const Tensor& queries, const Tensor& tokens, const kernels::Linear& key, bool bfloat16,
                         double sharpening) const override {
    return fused::cross_attention(queries, tokens, key, bfloat16, sharpening);
  }
  Tensor matching(const Tensor& audio_on_image, const Tensor& image_on_image, const Tensor& image_on_audio,
                  const Tensor& audio_on_audio, int64_t targets) const override {
    return fused::matching(audio_on_image, image_on_image, image_on_audio, audio_on_audio, targets);
  }
  fused::Heatmap heatmap(const Tensor& target_rows, int64_t side, int64_t height, int64_t width,
                         const fused::MapResize& resize, const std::optional<std::pair<double, double>>& range,
                         const std::optional<double>& threshold) const override {
    return fused::heatmap(target_rows, side, height, width, resize, range, threshold);
  }
  fused::GradientNorm gradient_norm(const std::vector<Tensor>& gradients, double clip,
                                    const Tensor& losses) const override {
    return fused::gradient_norm(gradients, clip, losses);
  }
  void adam_step(const fused::AdamState& state, const fused::AdamNumbers& numbers, const Tensor& learning_rate,
                 const Tensor& taken, const Tensor& divisor) const override {
    fused::adam_step(state, numbers, learning_rate, taken, divisor);
  }
};

}  // namespace

std::unique_ptr<const Kernels> gpu_kernels() { return std::make_unique<Gpu>(); }

}  // namespace soundspot::verify
