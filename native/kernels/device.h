// What a device other than the CPU computes by kernels of its own, on tensors. A new device is one folder of kernels
// that provides one object of this class.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/linear.h"
#include "kernels/normalization.h"

namespace soundspot::kernels {

struct SlotAttentionWeights {
  Linear query, key, value, input_gates, hidden_gates, first, second, slot_norm, mlp_norm;
};

struct SlotAttentionResult {
  Tensor slots;      // [B, S, D], after the last iteration
  Tensor queries;    // [B, S, D], of the last iteration
  Tensor attention;  // [B, S, N], of the last iteration (Eq. 3 and the normalisation of Eq. 4)
};

/// Weights joined where associativity allows, for the one launch of few samples. They cost more than the launch: who
/// calls often with the same weights keeps them.
struct JoinedSlotWeights {
  Linear query;   // W_kᵀ W_q γ, and as the last row what makes the product of q and b_k: [D + 1, D]
  Linear hidden;  // W_hh
  Linear input;   // W_ih W_v
  Linear first;   // of the MLP, with its norm
  Linear second;
};

/// How maps are enlarged: by Keys' bicubic with a = −0.75 or bilinearly, with `align_corners` or without. Without it,
/// pixel x of `pixels` is at token (x + ½) · span / pixels − offset. A span of 0 is the number of tokens: with an
/// offset of ½ they are equal parts of the image.
struct MapResize {
  bool bicubic = true, corners = false;
  float span = 0, offset = 0.5F;
};

struct Heatmap {
  Tensor map;   // [B, height, width], float32
  Tensor mask;  // 1 where the map is at or above the threshold, uint8; undefined without one
};

/// On the device of the gradients.
struct GradientNorm {
  Tensor norm;     // of all gradients, [1] float64
  Tensor divisor;  // what clipping divides the gradients by, 1 or more, [] float32
  Tensor finite;   // whether the norm and the losses are finite, [] bool
};

/// Of each parameter in one order; all tensors but `steps`, of one number, have the parameter's order of elements.
struct AdamState {
  std::vector<Tensor> values, gradients, means, squares, steps;
};

struct AdamNumbers {
  double beta1, beta2, epsilon, weight_decay;
  bool coupled;  // decay is a part of the gradient (Adam with L2 decay), not of the step (AdamW)
};

/// Work that a device has recorded once, and repeats by one launch on the same memory.
class Recording {
 public:
  virtual ~Recording() = default;
  /// On the current stream. The host does not wait.
  virtual void replay() = 0;
};

/// Everything is on the device; nothing is read from it.
class DeviceKernels {
 public:
  virtual ~DeviceKernels() = default;

  /// As signal::apply_change and signal::normalize_image, bit for bit: `squares` [B, size, size, 3] uint8, `changes`
  /// the bytes of a signal::ImageChange of each, [B, n] uint8. [B, 3, size, size] float32 in channels-last.
  virtual Tensor augment(const Tensor& squares, const Tensor& changes) const = 0;

  /// As kernels::batch_norm. With `fixed` by the running statistics, which stay, and with their gradients.
  virtual Tensor batch_norm(const Tensor& x, const BatchNorm& norm, const Tensor& residual, bool relu,
                            bool fixed) const = 0;

  /// As slot_attention::fused_iterations; `tokens` [B, N, D] after their layer norm are float32 or bfloat16, all else
  /// is float32. Up to eight samples are computed in one launch, by `joined` where it is not null.
  virtual SlotAttentionResult slot_attention(const Tensor& tokens, const Tensor& initial,
                                             const SlotAttentionWeights& weights, int64_t iterations, bool bfloat16,
                                             const JoinedSlotWeights* joined) const = 0;

  /// On any device, without gradients.
  virtual JoinedSlotWeights join(const SlotAttentionWeights& weights) const = 0;

  /// As slot_attention::fused_cross_attention; `tokens` [B, N, D] after their layer norm are float32 or bfloat16.
  virtual Tensor cross_attention(const Tensor& queries, const Tensor& tokens, const Linear& key, bool bfloat16,
                                 double sharpening) const = 0;

  /// The loss matching of the first `targets` slots, of attentions [B, S, N] in float32; an attention of one's own
  /// queries gets no gradient.
  virtual Tensor matching(const Tensor& audio_on_image, const Tensor& image_on_image, const Tensor& image_on_audio,
                          const Tensor& audio_on_audio, int64_t targets) const = 0;

  /// As localization::heatmap, of target rows [B, T, side · side].
  virtual Heatmap heatmap(const Tensor& target_rows, int64_t side, int64_t height, int64_t width,
                          const MapResize& resize, const std::optional<std::pair<double, double>>& range,
                          const std::optional<double>& threshold) const = 0;

  /// The norm over dense float32 gradients, at least one, summed in double in an order that depends on their sizes
  /// alone. `clip` is the greatest norm that an update sees, 0 for any. `losses` is undefined, or one float32 that is
  /// finite where the losses are, such as their sum.
  virtual GradientNorm gradient_norm(const std::vector<Tensor>& gradients, double clip, const Tensor& losses) const = 0;

  /// One step with the gradients over `divisor`, [] float32 or undefined, where `taken`, [] bool or undefined for yes,
  /// is true; else nothing changes, the counts of steps neither. `learning_rate` is one float32 on the device.
  virtual void adam_step(const AdamState& state, const AdamNumbers& numbers, const Tensor& learning_rate,
                         const Tensor& taken, const Tensor& divisor) const = 0;

  /// Does `work` on a device, and calls it once more to record what it launches: that call computes nothing, and what
  /// it leaves has its values after a replay. The second time it may allocate, but it reads nothing from the device and
  /// copies nothing to it. It shares memory with `beside`, which may be null: its results are copied before the other
  /// is replayed.
  /// @return null where this device records nothing; `work` was not called then.
  /// @throws what the first call throws, and what forbids to record the second.
  virtual std::unique_ptr<Recording> record(at::Device device, const std::function<void()>& work,
                                            const Recording* beside) const = 0;
};

/// The kernels of a device. Null for the CPU, whose functions are not behind a table, and where compositions of
/// LibTorch's operators compute.
const DeviceKernels* kernels_of(at::Device device);

/// Gives all devices of a kind these kernels, which outlive every use; null takes them away.
void provide(at::DeviceType kind, const DeviceKernels* kernels);

/// Whether the fused functions of training compute on a device.
inline bool fused_on(at::Device device) { return device.is_cpu() || kernels_of(device) != nullptr; }

}  // namespace soundspot::kernels
