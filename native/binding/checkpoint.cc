// Checkpoints in and out: safetensors and .pth files against models and trainers.
#include <algorithm>

#include "binding/convert.h"
#include "binding/functions.h"
#include "binding/trainer_handle.h"
#include "checkpoint/bind.h"
#include "checkpoint/format.h"
#include "checkpoint/load.h"
#include "checkpoint/quantized.h"
#include "checkpoint/safetensors.h"
#include "core/device.h"
#include "core/threads.h"
#include "inference/cpu/quantized_blocks.h"

namespace soundspot::binding {

namespace {

using checkpoint::Binding;
using checkpoint::Declared;
using checkpoint::Group;
using checkpoint::State;

Napi::Array names_to_javascript(Napi::Env env, const std::vector<std::string>& names) {
  Napi::Array list = Napi::Array::New(env, names.size());
  for (size_t i = 0; i < names.size(); ++i) list.Set(static_cast<uint32_t>(i), Napi::String::New(env, names[i]));
  return list;
}

Napi::Object tensor_entry(Napi::Env env, const std::string& key, const std::string& name, const Tensor& tensor) {
  Napi::Object item = Napi::Object::New(env);
  Napi::Array shape = Napi::Array::New(env);
  for (int64_t d = 0; d < tensor.dim(); ++d) {
    shape.Set(static_cast<uint32_t>(d), Napi::Number::New(env, static_cast<double>(tensor.size(d))));
  }
  item.Set("key", key);
  item.Set("name", name);
  item.Set("shape", shape);
  item.Set("type", Napi::String::New(env, c10::toString(tensor.scalar_type())));
  return item;
}

// readCheckpoint(path) → Promise<{ handle, metadata, tensors: { key, name, shape, type }[] }>, the preferred group
// first
Napi::Value read_checkpoint(const Napi::CallbackInfo& call) {
  const std::string path = call[0].As<Napi::String>().Utf8Value();
  return Job<std::shared_ptr<State>>::run(
      call.Env(), {}, [path] { return std::make_shared<State>(checkpoint::read_checkpoint(path)); },
      [](Napi::Env env, std::shared_ptr<State>& state) {
        Napi::Object result = Napi::Object::New(env), metadata = Napi::Object::New(env);
        for (const auto& [key, value] : state->metadata) metadata.Set(key, Napi::String::New(env, value));
        Napi::Array tensors = Napi::Array::New(env);
        const auto add = [&](const Group& group) {
          for (const auto& [name, tensor] : group.tensors) {
            tensors.Set(tensors.Length(), tensor_entry(env, group.key, name, tensor));
          }
        };
        add(*state);
        for (const Group& group : state->others) add(group);
        result.Set("metadata", metadata);
        result.Set("tensors", tensors);
        result.Set("handle", wrap(env, state));
        return result;
      });
}

// releaseCheckpoint(handle): its tensors are freed, once no running job holds them
Napi::Value release_checkpoint(const Napi::CallbackInfo& call) { return release<State>(call); }

/// The file without the optimizer and the random state that this package saves beside a model.
State without_training(State state) {
  if (!state.metadata.contains("soundspot.config")) return state;
  std::erase_if(state.tensors, [](const auto& named) {
    return named.first.starts_with("optimizer.") || named.first.starts_with("random.");
  });
  return state;
}

/// The error of `work` with the file's name before it.
template <class Work>
void naming(const std::string& file, const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    throw Error(error.code(), file + ": " + error.what());
  }
}

/// Calls `work(name, tensor)` for each, on several threads.
template <class Work>
void over(const core::NamedTensors& tensors, const Work& work) {
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += tensor.nbytes();
  core::share_out(
      static_cast<int64_t>(tensors.size()), bytes,
      [&](int64_t i) { work(tensors[static_cast<size_t>(i)].first, tensors[static_cast<size_t>(i)].second); },
      stay_on_this_thread);
}

/// @throws Error ERR_CHECKPOINT_CORRUPT when a tensor of the file is of no use.
void check_finite(const core::NamedTensors& tensors, const std::string& file) {
  over(tensors, [&](const std::string& name, const Tensor& tensor) {
    if (core::first_not_finite({{name, tensor}})) {
      throw Error("ERR_CHECKPOINT_CORRUPT",
                  file + ": " + name + " has values that are not finite. Take an earlier checkpoint of its training.");
    }
  });
}

/// Those that have values: of quantized weights the quantization has them.
core::NamedTensors tensors_of(const Binding& binding) {
  core::NamedTensors tensors;
  for (const auto& [parameter, name, tensor] : binding.bound) {
    if (!tensor.is_meta()) tensors.emplace_back(parameter, tensor);
  }
  return tensors;
}

/// A file's tensors for a model.
struct ModelBinding : Binding {
  std::optional<core::Quantization> quantization;  // of every convolution that can be quantized, where there is one
};

/// @throws Error ERR_CHECKPOINT_CORRUPT when its scales are of no use.
std::optional<core::Quantization> take_quantization(State& state, const std::string& file) {
  try {
    return checkpoint::take_quantization(state);
  } catch (const checkpoint::FormatError& error) {
    checkpoint::corrupt(file, error.what());
  }
}

/// @throws Error ERR_CHECKPOINT_CORRUPT when the quantization is not of exactly the convolutions that a model has.
void check_quantization(const methods::Localizer& model, const core::Quantization& quantization,
                        const std::string& file) {
  size_t count = 0;
  for (const encoders::Encoder* encoder : {&model.inference_encoders().image, &model.inference_encoders().audio}) {
    for (const auto& [name, input] : inference::quantized_names(model.parameters(), encoder->layout())) {
      if (!quantization.contains(name)) checkpoint::corrupt(file, "its quantization lacks " + name);
      ++count;
    }
  }
  if (count != quantization.size()) checkpoint::corrupt(file, "its quantization has convolutions of another model");
}

/// A file's tensors for a model of this configuration, compared by names and shapes alone: a file may claim a
/// configuration that no memory could hold.
ModelBinding bind_model(const encoders::ModelConfig& config, const State& state, const std::string& file) {
  const methods::Localizer expected(config, std::nullopt, at::kMeta);
  std::vector<Declared> declared;
  for (const core::Parameter& parameter : expected.parameters().all()) {
    declared.push_back({parameter.name, parameter.value.sizes().vec(), parameter.name,
                        expected.method().may_be_missing(parameter.name)});
  }
  for (const auto& [name, sizes, type] : expected.unused()) declared.push_back({name, sizes, name, /*optional=*/true});
  State own = without_training(state);
  ModelBinding binding;
  binding.quantization = take_quantization(own, file);
  naming(file, [&] {
    static_cast<Binding&>(binding) = checkpoint::bind(own, declared);
    binding.check_complete();
  });
  if (binding.quantization) check_quantization(expected, *binding.quantization, file);
  return binding;
}

/// A binding's report to JavaScript.
struct Report {
  std::string key;
  std::vector<std::string> loaded, sources, ignored, missing, other_keys;

  Report() = default;
  explicit Report(const Binding& binding)
      : key(binding.key), ignored(binding.unknown), missing(binding.missing), other_keys(binding.other_keys) {
    for (const auto& [parameter, name, tensor] : binding.bound) {
      loaded.push_back(parameter);
      sources.push_back(name);
    }
  }

  Napi::Object to_javascript(Napi::Env env) const {
    Napi::Object object = Napi::Object::New(env);
    object.Set("key", Napi::String::New(env, key));
    object.Set("otherKeys", names_to_javascript(env, other_keys));
    object.Set("loaded", names_to_javascript(env, loaded));
    object.Set("sources", names_to_javascript(env, sources));
    object.Set("ignored", names_to_javascript(env, ignored));
    object.Set("missing", names_to_javascript(env, missing));
    return object;
  }
};

// bindCheckpoint(config, checkpoint, file) → Promise<report>: what loadModel would take
Napi::Value bind_checkpoint(const Napi::CallbackInfo& call) {
  const encoders::ModelConfig config = model_config(call[0].As<Napi::Object>());
  const auto state = unwrap<State>(call[1]);
  const std::string file = call[2].As<Napi::String>().Utf8Value();
  return Job<Report>::run(
      call.Env(), {}, [=] { return Report(bind_model(config, *state, file)); },
      [](Napi::Env env, Report& report) { return report.to_javascript(env); });
}

/// A model to load weights into; its weights are drawn where the file lacks some that training needs.
std::shared_ptr<methods::Localizer> empty_model(const encoders::ModelConfig& config, const Binding& binding,
                                                at::Device device) {
  auto localizer = std::make_shared<methods::Localizer>(config, std::nullopt, device);
  const bool lacks = std::any_of(binding.absent.begin(), binding.absent.end(),
                                 [&](const std::string& name) { return localizer->parameters().has(name); });
  if (!lacks) return localizer;
  constexpr uint64_t kSeed = 0;
  return std::make_shared<methods::Localizer>(config, kSeed, device);
}

struct LoadedModel {
  std::shared_ptr<ModelHandle> handle;
  Report report;
};

// loadModel(config, checkpoint, file, device) → Promise<{ handle, report }>
Napi::Value load_model(const Napi::CallbackInfo& call) {
  const encoders::ModelConfig config = model_config(call[0].As<Napi::Object>());
  const auto state = unwrap<State>(call[1]);
  const std::string file = call[2].As<Napi::String>().Utf8Value(), device = call[3].As<Napi::String>().Utf8Value();
  return Job<LoadedModel>::run(
      call.Env(), {},
      [=] {
        const ModelBinding binding = bind_model(config, *state, file);
        const core::NamedTensors tensors = tensors_of(binding);
        check_finite(tensors, file);
        auto localizer = empty_model(config, binding, core::find_device(device));
        core::Parameters& parameters = localizer->parameters();
        for (const auto& [name, tensor] : tensors) {
          if (parameters.has(name)) continue;
          const at::ScalarType type = tensor.is_floating_point() ? at::kFloat : tensor.scalar_type();
          parameters.add_unused(name, at::empty(tensor.sizes(), at::device(localizer->device()).dtype(type)));
        }
        if (binding.quantization) localizer->quantize(*binding.quantization);
        over(tensors, [&](const std::string& name, const Tensor& tensor) { parameters.assign(name, tensor); });
        return LoadedModel{std::make_shared<ModelHandle>(std::move(localizer)), Report(binding)};
      },
      [](Napi::Env env, LoadedModel& loaded) {
        Napi::Object object = Napi::Object::New(env);
        object.Set("handle", wrap(env, loaded.handle));
        object.Set("report", loaded.report.to_javascript(env));
        return object;
      });
}

// loadImageWeights(model, checkpoint, file): torchvision's names into imgnet.*; others, such as fc.*, are ignored
Napi::Value load_image_weights(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<ModelHandle>(call[0]);
  const auto state = unwrap<State>(call[1]);
  const std::string file = call[2].As<Napi::String>().Utf8Value();
  return Job<Report>::run(
      call.Env(), {},
      [=] {
        const std::unique_lock lock(handle->mutex);
        core::Parameters& target = handle->localizer->parameters();
        std::vector<Declared> declared;
        for (const core::Parameter& parameter : target.all()) {
          constexpr std::string_view kPart = "imgnet.";
          if (!parameter.name.starts_with(kPart)) continue;
          declared.push_back({parameter.name.substr(kPart.size()), parameter.value.sizes().vec(), parameter.name});
        }
        Binding binding;
        naming(file, [&] {
          binding = checkpoint::bind(*state, declared);
          binding.check_shapes();
        });
        const core::NamedTensors tensors = tensors_of(binding);
        check_finite(tensors, file);
        if (tensors.empty()) {
          throw Error("ERR_CHECKPOINT_MISMATCH",
                      file + " has none of the tensors of a ResNet-18. Give torchvision's resnet18 file.");
        }
        handle->change_weights();
        for (const auto& [name, tensor] : tensors) target.assign(name, tensor);
        handle->localizer->begin_copies();
        return Report(binding);
      },
      [](Napi::Env env, Report& report) { return report.to_javascript(env); });
}

// saveCheckpoint(model, trainer | undefined, path, metadata) → Promise<void>; atomic, and finite values alone
Napi::Value save_checkpoint(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<ModelHandle>(call[0]);
  const std::shared_ptr<TrainerHandle> trainer =
      call[1].IsExternal() ? unwrap<TrainerHandle>(call[1]) : std::shared_ptr<TrainerHandle>();
  const std::string path = call[2].As<Napi::String>().Utf8Value();
  State state;
  const auto metadata = call[3].As<Napi::Object>();
  const Napi::Array keys = metadata.GetPropertyNames();
  for (uint32_t i = 0; i < keys.Length(); ++i) {
    const std::string key = keys.Get(i).As<Napi::String>().Utf8Value();
    state.metadata[key] = metadata.Get(key).As<Napi::String>().Utf8Value();
  }
  return Job<bool>::run(
      call.Env(), {},
      [=]() mutable {
        const std::shared_lock lock(handle->mutex);
        const core::Parameters& parameters = handle->localizer->parameters();
        for (const auto& [name, value, trainable, unused] : parameters.all()) {
          state.tensors.emplace_back(name, parameters.freed(name) ? value : value.detach().to(at::kCPU));
        }
        state.metadata.erase(checkpoint::kQuantizationKey);  // of a file whose weights have changed since
        if (const auto& quantization = handle->localizer->quantization()) put_quantization(state, *quantization);
        if (trainer) {
          for (const auto& [name, tensor] : trainer->state.state()) {
            state.tensors.emplace_back(name, tensor.to(at::kCPU));
          }
        }
        // An unusable checkpoint must not replace a usable file.
        if (const std::string* name = core::first_not_finite(state.tensors)) {
          throw Error("ERR_INTERNAL", *name + " has values that are not finite, and " + path +
                                          " was not written. Go on from an earlier checkpoint with a lower learning "
                                          "rate or with clip.");
        }
        checkpoint::write_safetensors(path, state);
        return true;
      },
      [](Napi::Env env, bool&) { return env.Undefined(); });
}

// restoreTrainer(trainer, checkpoint, file) → Promise<void>; all or nothing
Napi::Value restore_trainer(const Napi::CallbackInfo& call) {
  const auto trainer = unwrap<TrainerHandle>(call[0]);
  const auto state = unwrap<State>(call[1]);
  const std::string file = call[2].As<Napi::String>().Utf8Value();
  return Job<bool>::run(
      call.Env(), {},
      [=] {
        const std::unique_lock lock(trainer->model->mutex);
        naming(file, [&] { trainer->state.restore(state->tensors); });
        return true;
      },
      [](Napi::Env env, bool&) { return env.Undefined(); });
}

}  // namespace

void register_checkpoint(Napi::Env env, Napi::Object exports) {
  exports.Set("readCheckpoint", Napi::Function::New(env, read_checkpoint, "readCheckpoint"));
  exports.Set("releaseCheckpoint", Napi::Function::New(env, release_checkpoint, "releaseCheckpoint"));
  exports.Set("bindCheckpoint", Napi::Function::New(env, bind_checkpoint, "bindCheckpoint"));
  exports.Set("loadModel", Napi::Function::New(env, load_model, "loadModel"));
  exports.Set("loadImageWeights", Napi::Function::New(env, load_image_weights, "loadImageWeights"));
  exports.Set("saveCheckpoint", Napi::Function::New(env, save_checkpoint, "saveCheckpoint"));
  exports.Set("restoreTrainer", Napi::Function::New(env, restore_trainer, "restoreTrainer"));
}

}  // namespace soundspot::binding
