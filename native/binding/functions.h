// Each part of the binding adds its functions to the addon's exports.
#pragma once

#include <napi.h>

#include <vector>

namespace soundspot::binding {

void register_system(Napi::Env env, Napi::Object exports);
void register_signal(Napi::Env env, Napi::Object exports);
void register_model(Napi::Env env, Napi::Object exports);
void register_training(Napi::Env env, Napi::Object exports);
void register_distributed(Napi::Env env, Napi::Object exports);
void register_checkpoint(Napi::Env env, Napi::Object exports);
void register_quantization(Napi::Env env, Napi::Object exports);
void register_kernels(Napi::Env env, Napi::Object exports);
void register_losses(Napi::Env env, Napi::Object exports);
void register_store(Napi::Env env, Napi::Object exports);

/// Functions of sources that are no part of the package, such as those of its tests.
using Registration = void (*)(Napi::Env env, Napi::Object exports);
inline std::vector<Registration>& further() {
  static std::vector<Registration> all;
  return all;
}

}  // namespace soundspot::binding
