#include "kernels/cuda/adam_function.h"
#include "kernels/cuda/batch_norm_function.h"
#include "kernels/cuda/cross_attention_function.h"
#include "kernels/cuda/heatmap_function.h"
#include "kernels/cuda/host.h"
#include "kernels/cuda/slot_attention_function.h"
#include "verify/kernels.h"

namespace soundspot::verify {
namespace {

using kernels::cuda::Host;

class OnHost final : public Kernels {
 public:
  Tensor batch_norm(const Tensor& x, const kernels::BatchNorm& norm, const Tensor& residual, bool relu,
                    bool fixed) const override {
    return kernels::cuda::batch_norm_by<Host>(x, norm, residual, relu, fixed);
  }
  fused::SlotAttentionResult slot_attention(const Tensor& tokens, const Tensor& initial,
                                            const fused::SlotAttentionWeights& weights, int64_t iterations,
                                            bool bfloat16, const fused::JoinedSlotWeights* joined) const override {
    return kernels::cuda::slot_attention_by<Host>(tokens, initial, weights, iterations, bfloat16, joined);
  }
  fused::JoinedSlotWeights join(const fused::SlotAttentionWeights& weights) const override {
    return kernels::cuda::joined(kernels::cuda::ordered(weights));
  }
  Tensor cross_attention(const Tensor& queries, const Tensor& tokens, const kernels::Linear& key, bool bfloat16,
                         double sharpening) const override {
    return kernels::cuda::cross_attention_by<Host>(queries, tokens, key, bfloat16, sharpening);
  }
  Tensor matching(const Tensor& audio_on_image, const Tensor& image_on_image, const Tensor& image_on_audio,
                  const Tensor& audio_on_audio, int64_t targets) const override {
    return kernels::cuda::matching_by<Host>(audio_on_image, image_on_image, image_on_audio, audio_on_audio, targets);
  }
  fused::Heatmap heatmap(const Tensor& target_rows, int64_t side, int64_t height, int64_t width,
                         const fused::MapResize& resize, const std::optional<std::pair<double, double>>& range,
                         const std::optional<double>& threshold) const override {
    return kernels::cuda::heatmap_by<Host>(target_rows, side, height, width, resize, range, threshold);
  }
  fused::GradientNorm gradient_norm(const std::vector<Tensor>& gradients, double clip,
                                    const Tensor& losses) const override {
    return kernels::cuda::gradient_norm_by<Host>(gradients, clip, losses);
  }
  void adam_step(const fused::AdamState& state, const fused::AdamNumbers& numbers, const Tensor& learning_rate,
                 const Tensor& taken, const Tensor& divisor) const override {
    kernels::cuda::adam_step_by<Host>(state, numbers, learning_rate, taken, divisor);
  }
};

}  // namespace

std::unique_ptr<const Kernels> host_kernels() { return std::make_unique<OnHost>(); }

}  // namespace soundspot::verify
