// Cross-modal attention matching: each modality's queries are to attend in the other as the other attends to itself.
#include "kernels/device.h"
#include "losses/loss.h"

namespace soundspot::losses {
namespace {

Tensor matching(const LossInputs& inputs) {
  const Features& maps_of = inputs.features;
  if (const auto* const own = kernels::kernels_of(maps_of["audio_on_image"].device())) {
    return own->matching(maps_of["audio_on_image"], maps_of["image_on_image"], maps_of["image_on_audio"],
                         maps_of["audio_on_audio"], inputs.targets);
  }
  const auto target = [&](const char* maps) { return maps_of[maps].narrow(1, 0, inputs.targets); };
  return at::mse_loss(target("audio_on_image"), target("image_on_image").detach()) +
         at::mse_loss(target("image_on_audio"), target("audio_on_audio").detach());
}

const Register registered{
    "matching", {"audio_on_image", "image_on_image", "image_on_audio", "audio_on_audio"}, matching};

}  // namespace
}  // namespace soundspot::losses
