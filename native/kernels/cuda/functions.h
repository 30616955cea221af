// The kernels' functions on tensors as a device provides them, over a launcher: Device (functions.cu) or Host (tests).
#pragma once

#include "kernels/cuda/adam_function.h"
#include "kernels/cuda/augment_function.h"
#include "kernels/cuda/batch_norm_function.h"
#include "kernels/cuda/cross_attention_function.h"
#include "kernels/cuda/heatmap_function.h"
#include "kernels/cuda/slot_attention_function.h"

namespace soundspot::kernels::cuda {

template <class Launcher>
class KernelsBy final : public DeviceKernels {
 public:
  Tensor augment(const Tensor& squares, const Tensor& changes) const override {
    return augment_by<Launcher>(squares, changes);
  }

  Tensor batch_norm(const Tensor& x, const BatchNorm& norm, const Tensor& residual, bool relu,
                    bool fixed) const override {
    return batch_norm_by<Launcher>(x, norm, residual, relu, fixed);
  }

  SlotAttentionResult slot_attention(const Tensor& tokens, const Tensor& initial, const SlotAttentionWeights& weights,
                                     int64_t iterations, bool bfloat16,
                                     const JoinedSlotWeights* joined) const override {
    return slot_attention_by<Launcher>(tokens, initial, weights, iterations, bfloat16, joined);
  }

  JoinedSlotWeights join(const SlotAttentionWeights& weights) const override { return joined(ordered(weights)); }

  Tensor cross_attention(const Tensor& queries, const Tensor& tokens, const Linear& key, bool bfloat16,
                         double sharpening) const override {
    return cross_attention_by<Launcher>(queries, tokens, key, bfloat16, sharpening);
  }

  Tensor matching(const Tensor& audio_on_image, const Tensor& image_on_image, const Tensor& image_on_audio,
                  const Tensor& audio_on_audio, int64_t targets) const override {
    return matching_by<Launcher>(audio_on_image, image_on_image, image_on_audio, audio_on_audio, targets);
  }

  Heatmap heatmap(const Tensor& target_rows, int64_t side, int64_t height, int64_t width, const MapResize& resize,
                  const std::optional<std::pair<double, double>>& range,
                  const std::optional<double>& threshold) const override {
    return heatmap_by<Launcher>(target_rows, side, height, width, resize, range, threshold);
  }

  GradientNorm gradient_norm(const std::vector<Tensor>& gradients, double clip, const Tensor& losses) const override {
    return gradient_norm_by<Launcher>(gradients, clip, losses);
  }

  void adam_step(const AdamState& state, const AdamNumbers& numbers, const Tensor& learning_rate, const Tensor& taken,
                 const Tensor& divisor) const override {
    adam_step_by<Launcher>(state, numbers, learning_rate, taken, divisor);
  }

  std::unique_ptr<Recording> record(at::Device device, const std::function<void()>& work,
                                    const Recording* beside) const override {
    return Launcher::record(device, work, beside);
  }
};

}  // namespace soundspot::kernels::cuda
