// The addon's entry: registers functions, nothing else.
#include "binding/functions.h"

namespace {

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  soundspot::binding::register_system(env, exports);
  soundspot::binding::register_signal(env, exports);
  soundspot::binding::register_model(env, exports);
  soundspot::binding::register_training(env, exports);
  soundspot::binding::register_distributed(env, exports);
  soundspot::binding::register_checkpoint(env, exports);
  soundspot::binding::register_quantization(env, exports);
  soundspot::binding::register_kernels(env, exports);
  soundspot::binding::register_losses(env, exports);
  soundspot::binding::register_store(env, exports);
  for (const auto& more : soundspot::binding::further()) more(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(soundspot, initialise)
