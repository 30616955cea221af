// The system that the addon runs on.
#include <ATen/Version.h>
#include <torch/version.h>

#include <mutex>

#include "binding/functions.h"
#include "core/device.h"
#include "core/gpus.h"
#include "core/precision.h"
#include "core/processor.h"
#include "memory/caching_allocator.h"

namespace soundspot::binding {

namespace {

/// Lets MKL choose its vector functions while one thread looks. LibTorch 2.13 has MKL 2024.2, which writes down the
/// processor's type in two steps when the first of them is called: a logarithm that another thread takes between them
/// is one of low precision, wrong by 1e-4 (pytorch/pytorch#188792).
void choose_vector_functions() {
  static std::once_flag once;
  std::call_once(once, [] { at::log(at::ones({1})); });
}

#ifdef SOUNDSPOT_CUDA
Napi::Object cuda_info(Napi::Env env) {
  const core::Gpus& gpus = core::gpus();
  Napi::Object result = Napi::Object::New(env);
  result.Set("built", gpus.built);
  if (!gpus.driver.empty()) result.Set("driver", gpus.driver);
  if (!gpus.problem.empty()) result.Set("problem", gpus.problem);
  Napi::Array list = Napi::Array::New(env, gpus.list.size());
  for (uint32_t i = 0; i < gpus.list.size(); ++i) {
    const core::Gpu& gpu = gpus.list[i];
    Napi::Object each = Napi::Object::New(env);
    each.Set("name", gpu.name);
    each.Set("capability", std::to_string(gpu.major) + "." + std::to_string(gpu.minor));
    each.Set("memory", static_cast<double>(gpu.memory));
    each.Set("usable", gpu.usable);
    list.Set(i, each);
  }
  result.Set("gpus", list);
  return result;
}
#endif

Napi::Value info(const Napi::CallbackInfo& call) {
  Napi::Object result = Napi::Object::New(call.Env());
  result.Set("libtorch", TORCH_VERSION);
  result.Set("cpuCapability", at::get_cpu_capability());
  result.Set("threads", at::get_num_threads());
  const core::Processor& processor = core::processor();
  const auto texts = [&](const std::vector<std::string>& values) {
    Napi::Array list = Napi::Array::New(call.Env(), values.size());
    for (uint32_t i = 0; i < values.size(); ++i) list.Set(i, values[i]);
    return list;
  };
  Napi::Object cpu = Napi::Object::New(call.Env());
  Napi::Object precisions = Napi::Object::New(call.Env());
  for (const std::string& name : core::device_names()) {
    std::vector<std::string> own;
    for (const core::Precision each : core::kPrecisions) {
      if (core::multiplies(core::find_device(name), each)) own.emplace_back(core::name_of(each));
    }
    precisions.Set(name, texts(own));
  }
  result.Set("devices", texts(core::device_names()));
  result.Set("precisions", precisions);
#ifdef SOUNDSPOT_CUDA
  result.Set("cuda", cuda_info(call.Env()));
#endif
  cpu.Set("vendor", core::name_of(processor.vendor()));
  cpu.Set("model", processor.name());
  cpu.Set("hardware", texts(processor.hardware()));
  cpu.Set("features", texts(processor.features()));
  cpu.Set("instructionSet", core::name_of(processor.instruction_set()));
  cpu.Set("bfloat16", processor.multiplies_bfloat16());
  result.Set("cpu", cpu);
  return result;
}

Napi::Value set_threads(const Napi::CallbackInfo& call) {
  at::set_num_threads(call[0].As<Napi::Number>().Int32Value());
  return call.Env().Undefined();
}

// tensorMemory(restart) → most bytes of large tensors at one time since the last restart
Napi::Value tensor_memory(const Napi::CallbackInfo& call) {
  const size_t bytes = memory::most_in_use(call[0].As<Napi::Boolean>());
  return Napi::Number::New(call.Env(), static_cast<double>(bytes));
}

}  // namespace

void register_system(Napi::Env env, Napi::Object exports) {
#ifndef __SANITIZE_ADDRESS__  // which looks between the C library's blocks
  memory::keep_large_blocks();
#endif
  choose_vector_functions();
  core::processor();  // the first look takes tens of milliseconds
  exports.Set("info", Napi::Function::New(env, info, "info"));
  exports.Set("tensorMemory", Napi::Function::New(env, tensor_memory, "tensorMemory"));
  exports.Set("setThreads", Napi::Function::New(env, set_threads, "setThreads"));
}

}  // namespace soundspot::binding
