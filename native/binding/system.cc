// What the addon runs on.
#include <ATen/Version.h>
#include <ATen/cpu/Utils.h>
#include <torch/version.h>

#include <mutex>

#include "binding/functions.h"
#include "memory/caching_allocator.h"

namespace soundspot::binding {

namespace {

/// Whether the processor multiplies bfloat16 itself. Where it does not, LibTorch does it slower than float32.
bool has_bfloat16() {
  const auto capabilities = at::cpu::get_cpu_capabilities();
  const auto has = [&](const char* name) {
    const auto found = capabilities.find(name);
    return found != capabilities.end() && found->second.isBool() && found->second.toBool();
  };
  return has("avx512_bf16") || has("amx_bf16") || has("bf16");
}

/// Found out when the addon is loaded, which takes its time anyway: the first look takes tens of milliseconds.
bool bfloat16_is_fast = false;

/// Lets MKL choose its vector functions while one thread looks. LibTorch 2.13 has MKL 2024.2, which writes down the
/// processor's type in two steps when the first of them is called: a logarithm that another thread takes between them is
/// one of low precision, wrong by 1e-4 (pytorch/pytorch#188792).
void choose_vector_functions() {
  static std::once_flag once;
  std::call_once(once, [] { at::log(at::ones({1})); });
}

Napi::Value info(const Napi::CallbackInfo& call) {
  Napi::Object result = Napi::Object::New(call.Env());
  result.Set("libtorch", TORCH_VERSION);
  result.Set("cpuCapability", at::get_cpu_capability());
  result.Set("bfloat16", bfloat16_is_fast);
  result.Set("threads", at::get_num_threads());
  return result;
}

Napi::Value set_threads(const Napi::CallbackInfo& call) {
  at::set_num_threads(call[0].As<Napi::Number>().Int32Value());
  return call.Env().Undefined();
}

}  // namespace

void register_system(Napi::Env env, Napi::Object exports) {
#ifndef __SANITIZE_ADDRESS__  // which looks between the C library's blocks
  memory::keep_large_blocks();
#endif
  choose_vector_functions();
  bfloat16_is_fast = has_bfloat16();
  exports.Set("info", Napi::Function::New(env, info, "info"));
  exports.Set("setThreads", Napi::Function::New(env, set_threads, "setThreads"));
}

}  // namespace soundspot::binding
