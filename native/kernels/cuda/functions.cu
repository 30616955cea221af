// The functions of kernels.h: the tensors' side of every kernel, on the current stream of their GPU.
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include "kernels/cuda/adam_function.h"
#include "kernels/cuda/batch_norm_function.h"
#include "kernels/cuda/cross_attention_function.h"
#include "kernels/cuda/heatmap_function.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/slot_attention_function.h"

namespace soundspot::kernels::cuda {

namespace {

/// The launcher of the GPU that holds a tensor.
class Device {
 public:
  explicit Device(const Tensor& like)
      : guard_(like.device()),
        stream_(c10::impl::getDeviceGuardImpl(at::kCUDA)->getStream(like.device()).native_handle()) {
    TORCH_CHECK(like.is_cuda(), "a tensor on a GPU was expected, not on ", like.device());
  }

  template <class Kernel>
  void launch(const Grid& grid, const Kernel& kernel) const {
    launch_on(stream_, grid, kernel);
  }
  template <class Kernel>
  void launch_cooperative(int64_t stages, const Grid& grid, const Kernel& kernel) const {
    launch_cooperative_on(stream_, stages, grid, kernel);
  }
  template <class Kernel>
  int64_t most_blocks(int64_t shared) const {
    return most_blocks_of<Kernel>(shared);
  }

 private:
  const c10::DeviceGuard guard_;
  void* const stream_;
};

}  // namespace

Tensor batch_norm(const Tensor& x, const BatchNorm& norm, const Tensor& residual, bool relu, bool fixed) {
  return batch_norm_by<Device>(x, norm, residual, relu, fixed);
}

SlotAttentionResult slot_attention(const Tensor& tokens, const Tensor& initial, const SlotAttentionWeights& weights,
                                   int64_t iterations, bool bfloat16, const JoinedSlotWeights* joined) {
  return slot_attention_by<Device>(tokens, initial, weights, iterations, bfloat16, joined);
}

JoinedSlotWeights join(const SlotAttentionWeights& weights) { return joined(ordered(weights)); }

Tensor cross_attention(const Tensor& queries, const Tensor& tokens, const Linear& key, bool bfloat16,
                       double sharpening) {
  return cross_attention_by<Device>(queries, tokens, key, bfloat16, sharpening);
}

Tensor matching(const Tensor& audio_on_image, const Tensor& image_on_image, const Tensor& image_on_audio,
                const Tensor& audio_on_audio, int64_t targets) {
  return matching_by<Device>(audio_on_image, image_on_image, image_on_audio, audio_on_audio, targets);
}

Heatmap heatmap(const Tensor& target_rows, int64_t side, int64_t height, int64_t width, const MapResize& resize,
                const std::optional<std::pair<double, double>>& range, const std::optional<double>& threshold) {
  return heatmap_by<Device>(target_rows, side, height, width, resize, range, threshold);
}

GradientNorm gradient_norm(const std::vector<Tensor>& gradients, double clip, const Tensor& losses) {
  return gradient_norm_by<Device>(gradients, clip, losses);
}

void adam_step(const AdamState& state, const AdamNumbers& numbers, const Tensor& learning_rate, const Tensor& taken,
               const Tensor& divisor) {
  adam_step_by<Device>(state, numbers, learning_rate, taken, divisor);
}

}  // namespace soundspot::kernels::cuda
