// Cross-modal attention matching: each modality's queries are to attend in the other as the other attends to itself.
#include "losses/loss.h"
#ifdef SOUNDSPOT_CUDA
#include "kernels/cuda/kernels.h"
#endif

namespace soundspot::losses {
namespace {

Tensor matching(const LossInputs& inputs) {
#ifdef SOUNDSPOT_CUDA
  const Features& maps_of = inputs.features;
  if (maps_of["audio_on_image"].is_cuda()) {
    return kernels::cuda::matching(maps_of["audio_on_image"], maps_of["image_on_image"], maps_of["image_on_audio"],
                                   maps_of["audio_on_audio"], inputs.targets);
  }
#endif
  const auto target = [&](const char* maps) { return inputs.features[maps].narrow(1, 0, inputs.targets); };
  return at::mse_loss(target("audio_on_image"), target("image_on_image").detach()) +
         at::mse_loss(target("image_on_audio"), target("audio_on_audio").detach());
}

const Register registered{
    "matching", {"audio_on_image", "image_on_image", "image_on_audio", "audio_on_audio"}, matching};

}  // namespace
}  // namespace soundspot::losses
