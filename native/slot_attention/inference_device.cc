#include "slot_attention/inference_device.h"

namespace soundspot::slot_attention {

using encoders::Modality;

DeviceSlotAttention::DeviceSlotAttention(const core::Parameters& parameters, const SlotAttentionConfig& config,
                                         const kernels::DeviceKernels& kernels)
    : parameters_(parameters),
      plain_(config),
      kernels_(kernels),
      image_(branch(Modality::kImage)),
      audio_(branch(Modality::kAudio)) {}

DeviceSlotAttention::Branch DeviceSlotAttention::branch(Modality modality) const {
  const at::NoGradGuard no_grad;
  const kernels::SlotAttentionWeights weights = JointSlotAttention::weights(parameters_, modality);
  return {weights, kernels_.join(weights), plain_.initial_slots(parameters_, modality).detach().squeeze(0)};
}

kernels::SlotAttentionResult DeviceSlotAttention::iterate(const Branch& branch, const Tensor& tokens) const {
  return kernels_.slot_attention(tokens, branch.initial, branch.weights, plain_.config().iterations, /*bfloat16=*/false,
                                 &branch.joined);
}

JointAttention DeviceSlotAttention::forward(const Tensor& image_tokens, const Tensor& audio_tokens,
                                            double sharpening) const {
  const at::NoGradGuard no_grad;
  const Tensor image = JointSlotAttention::normed_tokens(parameters_, Modality::kImage, image_tokens),
               audio = JointSlotAttention::normed_tokens(parameters_, Modality::kAudio, audio_tokens);
  const kernels::SlotAttentionResult of_image = iterate(image_, image), of_audio = iterate(audio_, audio);
  const auto attend = [&](const Tensor& queries, const Branch& branch, const Tensor& tokens) {
    return kernels_.cross_attention(queries, tokens, branch.weights.key, /*bfloat16=*/false, sharpening);
  };
  const bool sharpened = sharpening != 1.0;
  JointAttention result;
  result.image_slots = of_image.slots;
  result.audio_slots = of_audio.slots;
  result.image_queries = of_image.queries;
  result.audio_queries = of_audio.queries;
  result.image_on_image = sharpened ? attend(of_image.queries, image_, image) : of_image.attention;
  result.audio_on_image = attend(of_audio.queries, image_, image);
  result.audio_on_audio = sharpened ? attend(of_audio.queries, audio_, audio) : of_audio.attention;
  result.image_on_audio = attend(of_image.queries, audio_, audio);
  return result;
}

Tensor DeviceSlotAttention::slots(Modality modality, const Tensor& tokens) const {
  const at::NoGradGuard no_grad;
  return iterate(modality == Modality::kImage ? image_ : audio_,
                 JointSlotAttention::normed_tokens(parameters_, modality, tokens))
      .slots;
}

}  // namespace soundspot::slot_attention
