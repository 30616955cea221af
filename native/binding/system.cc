// What the addon runs on.
#include <ATen/Version.h>
#include <torch/version.h>

#include "binding/functions.h"
#include "memory/caching_allocator.h"

namespace soundspot::binding {

namespace {

Napi::Value info(const Napi::CallbackInfo& call) {
  Napi::Object result = Napi::Object::New(call.Env());
  result.Set("libtorch", TORCH_VERSION);
  result.Set("cpuCapability", at::get_cpu_capability());
  result.Set("threads", at::get_num_threads());
  return result;
}

Napi::Value set_threads(const Napi::CallbackInfo& call) {
  at::set_num_threads(call[0].As<Napi::Number>().Int32Value());
  return call.Env().Undefined();
}

}  // namespace

void register_system(Napi::Env env, Napi::Object exports) {
  memory::keep_large_blocks();
  exports.Set("info", Napi::Function::New(env, info, "info"));
  exports.Set("setThreads", Napi::Function::New(env, set_threads, "setThreads"));
}

}  // namespace soundspot::binding
