// The fused kernels by themselves, for bench/.
#include <chrono>

#include "binding/convert.h"
#include "binding/functions.h"
#include "inference/slot_attention.h"
#include "model/autocast.h"

namespace soundspot::binding {

namespace {

std::vector<Tensor> outputs(const model::JointAttention& attention) {
  return {attention.image_slots,    attention.audio_slots,    attention.image_on_image,
          attention.audio_on_image, attention.audio_on_audio, attention.image_on_audio};
}

double milliseconds(const std::function<void()>& work) {
  const auto started = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - started).count();
}

// timeSlotAttention(handle, { batch, times, fused, backward, bfloat16 }) → Promise<milliseconds[times]> of joint slot
// attention on tokens drawn at random; with `backward` forward and backward of the sum of all outputs
Napi::Value time_slot_attention(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<ModelHandle>(call[0]);
  const auto options = call[1].As<Napi::Object>();
  const int64_t batch = integer(options, "batch"), times = integer(options, "times");
  const bool fused = boolean(options, "fused"), backward = boolean(options, "backward"),
             bfloat16 = boolean(options, "bfloat16");
  return Job<Tensor>::compute(
      call.Env(), {},
      [=] {
        const std::unique_lock lock(handle->mutex);
        const model::Localizer& localizer = *handle->localizer;
        const model::ModelConfig& config = localizer.config();
        const model::JointSlotAttention plain(config);
        const inference::FrozenSlotAttention frozen(localizer.parameters(), config, bfloat16);
        const int64_t side = config.image_tokens_per_side();
        const Tensor image = at::randn({batch, side * side, config.dim}).set_requires_grad(backward),
                     audio = at::randn({batch, config.audio_tokens(), config.dim}).set_requires_grad(backward);
        const auto without_gradients = [&] {
          for (const model::Parameter& parameter : localizer.parameters().all()) {
            parameter.value.mutable_grad() = Tensor();
          }
        };
        const auto once = [&] {
          without_gradients();
          if (!backward) {
            const at::NoGradGuard no_grad;
            const model::Autocast autocast(bfloat16 && !fused);
            if (fused) {
              frozen.forward(image, audio, 1.0);
            } else {
              plain.forward(localizer.parameters(), image, audio, 1.0);
            }
            return;
          }
          Tensor total = at::zeros({});
          {
            const model::Autocast autocast(bfloat16 && !fused);
            for (const Tensor& output :
                 outputs(fused ? plain.fused(localizer.parameters(), image, audio, false, bfloat16)
                               : plain.forward(localizer.parameters(), image, audio, 1.0))) {
              total = total + output.to(at::kFloat).sum();
            }
          }
          torch::autograd::backward({total}, {});
        };
        const Tensor measured = at::empty({times}, at::kFloat);
        for (int64_t i = 0; i < times; ++i) measured[i] = milliseconds(once);
        without_gradients();
        return measured;
      },
      [](Napi::Env env, Tensor& measured) { return tensor_to_javascript(env, measured); });
}

}  // namespace

void register_kernels(Napi::Env env, Napi::Object exports) {
  exports.Set("timeSlotAttention", Napi::Function::New(env, time_slot_attention, "timeSlotAttention"));
}

}  // namespace soundspot::binding
