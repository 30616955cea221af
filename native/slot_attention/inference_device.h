// Joint slot attention for inference on a device with kernels of its own. reference.cc is the plain form.
#pragma once

#include "kernels/device.h"
#include "slot_attention/reference.h"

namespace soundspot::slot_attention {

/// It holds joined weights, and looks at the others. Without gradients.
class DeviceSlotAttention {
 public:
  DeviceSlotAttention(const core::Parameters& parameters, const SlotAttentionConfig& config,
                      const kernels::DeviceKernels& kernels);

  /// As JointSlotAttention::forward, without the keys.
  JointAttention forward(const Tensor& image_tokens, const Tensor& audio_tokens, double sharpening) const;

  /// Slots [B, S, D] of one modality alone, from its tokens [B, N, D].
  Tensor slots(encoders::Modality modality, const Tensor& tokens) const;

 private:
  struct Branch {
    kernels::SlotAttentionWeights weights;
    kernels::JoinedSlotWeights joined;
    Tensor initial;  // [S, D]
  };

  Branch branch(encoders::Modality modality) const;
  /// `tokens` after their layer norm.
  kernels::SlotAttentionResult iterate(const Branch& branch, const Tensor& tokens) const;

  const core::Parameters& parameters_;
  const JointSlotAttention plain_;
  const kernels::DeviceKernels& kernels_;
  const Branch image_, audio_;
};

}  // namespace soundspot::slot_attention
