// Checkpoints in and out: safetensors and .pth files against models and trainers.
#include <set>

#include "binding/convert.h"
#include "binding/functions.h"
#include "binding/trainer_handle.h"
#include "checkpoint/load.h"
#include "checkpoint/safetensors.h"

namespace soundspot::binding {

namespace {

using checkpoint::State;

Napi::Array names_to_javascript(Napi::Env env, const std::vector<std::string>& names) {
  Napi::Array list = Napi::Array::New(env, names.size());
  for (size_t i = 0; i < names.size(); ++i) list.Set(static_cast<uint32_t>(i), Napi::String::New(env, names[i]));
  return list;
}

// readCheckpoint(path) → Promise<{ handle, metadata, tensors: { name, shape, type }[] }>
Napi::Value read_checkpoint(const Napi::CallbackInfo& call) {
  const std::string path = call[0].As<Napi::String>().Utf8Value();
  return Job<std::shared_ptr<State>>::run(
      call.Env(), {}, [path] { return std::make_shared<State>(checkpoint::read_checkpoint(path)); },
      [](Napi::Env env, std::shared_ptr<State>& state) {
        Napi::Object result = Napi::Object::New(env), metadata = Napi::Object::New(env);
        for (const auto& [key, value] : state->metadata) metadata.Set(key, Napi::String::New(env, value));
        Napi::Array tensors = Napi::Array::New(env, state->tensors.size());
        for (size_t i = 0; i < state->tensors.size(); ++i) {
          const auto& [name, tensor] = state->tensors[i];
          Napi::Object item = Napi::Object::New(env);
          Napi::Array shape = Napi::Array::New(env);
          for (int64_t d = 0; d < tensor.dim(); ++d) {
            shape.Set(static_cast<uint32_t>(d), Napi::Number::New(env, static_cast<double>(tensor.size(d))));
          }
          item.Set("name", name);
          item.Set("shape", shape);
          item.Set("type", Napi::String::New(env, c10::toString(tensor.scalar_type())));
          tensors.Set(static_cast<uint32_t>(i), item);
        }
        result.Set("metadata", metadata);
        result.Set("tensors", tensors);
        result.Set("handle", wrap(env, state));
        return result;
      });
}

bool belongs_to_training(const std::string& name) {
  return name.rfind("optimizer.", 0) == 0 || name.rfind("random.", 0) == 0;
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

/// @throws Error ERR_CHECKPOINT_CORRUPT when a tensor of the file is of no use.
void check_finite(const model::NamedTensors& tensors, const std::string& file) {
  if (const std::string* name = model::first_not_finite(tensors)) {
    throw Error("ERR_CHECKPOINT_CORRUPT",
                file + ": " + *name + " has values that are not finite. Take an earlier checkpoint of its training.");
  }
}

/// The tensors of a file that are a model's: every one that it needs must be there, none may be unknown.
model::NamedTensors model_tensors(const State& state, const model::Parameters& needed, const std::string& file) {
  std::set<std::string> given;
  model::NamedTensors tensors;
  for (const auto& tensor : state.tensors) {
    if (belongs_to_training(tensor.first)) continue;
    given.insert(tensor.first);
    tensors.push_back(tensor);
  }
  naming(file, [&] { needed.check(tensors); });
  check_finite(tensors, file);
  for (const model::Parameter& parameter : needed.all()) {
    const bool counter = parameter.name.find("num_batches_tracked") != std::string::npos;
    if (counter || given.count(parameter.name) > 0) continue;
    throw Error("ERR_CHECKPOINT_MISMATCH", file + " has no tensor " + parameter.name +
                                               ", which this configuration needs. Load it with the configuration "
                                               "that it was made with.");
  }
  return tensors;
}

// loadModel(config, checkpoint, file) → Promise<handle>
Napi::Value load_model(const Napi::CallbackInfo& call) {
  const model::ModelConfig config = model_config(call[0].As<Napi::Object>());
  const auto state = unwrap<State>(call[1]);
  const std::string file = call[2].As<Napi::String>().Utf8Value();
  return Job<std::shared_ptr<ModelHandle>>::run(
      call.Env(), {},
      [=] {
        // Compared with shapes alone first: a file may claim a configuration that no memory could hold.
        const model::Localizer expected(config, std::nullopt, at::kMeta);
        const auto tensors = model_tensors(*state, expected.parameters(), file);
        auto localizer = std::make_shared<model::Localizer>(config, std::nullopt);
        for (const auto& [name, tensor] : tensors) localizer->parameters().assign(name, tensor);
        return std::make_shared<ModelHandle>(std::move(localizer));
      },
      [](Napi::Env env, std::shared_ptr<ModelHandle>& handle) { return wrap(env, handle); });
}

struct PartialLoad {
  std::vector<std::string> loaded, ignored, missing;
};

// loadImageWeights(model, checkpoint, file): torchvision's names into imgnet.*; fc.* is ignored
Napi::Value load_image_weights(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<ModelHandle>(call[0]);
  const auto state = unwrap<State>(call[1]);
  const std::string file = call[2].As<Napi::String>().Utf8Value();
  return Job<PartialLoad>::run(
      call.Env(), {},
      [=] {
        const std::unique_lock lock(handle->mutex);
        model::Parameters& target = handle->localizer->parameters();
        PartialLoad result;
        std::set<std::string> given;
        model::NamedTensors tensors;
        for (const auto& [name, tensor] : state->tensors) {
          const std::string own = "imgnet." + name;
          if (name.rfind("fc.", 0) == 0 || !target.has(own)) {
            result.ignored.push_back(name);
            continue;
          }
          given.insert(own);
          tensors.emplace_back(own, tensor);
        }
        naming(file, [&] { target.check(tensors); });
        check_finite(tensors, file);
        if (tensors.empty()) {
          throw Error("ERR_CHECKPOINT_MISMATCH",
                      file + " has none of the tensors of a ResNet-18. Give torchvision's resnet18 file.");
        }
        for (const auto& [name, tensor] : tensors) {
          target.assign(name, tensor);
          result.loaded.push_back(name);
        }
        handle->weights_changed();
        for (const model::Parameter& parameter : target.all()) {
          if (parameter.name.rfind("imgnet.", 0) == 0 && given.count(parameter.name) == 0) {
            result.missing.push_back(parameter.name);
          }
        }
        return result;
      },
      [](Napi::Env env, PartialLoad& result) {
        Napi::Object object = Napi::Object::New(env);
        object.Set("loaded", names_to_javascript(env, result.loaded));
        object.Set("ignored", names_to_javascript(env, result.ignored));
        object.Set("missing", names_to_javascript(env, result.missing));
        return object;
      });
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
        for (const model::Parameter& parameter : handle->localizer->parameters().all()) {
          state.tensors.emplace_back(parameter.name, parameter.value.detach());
        }
        if (trainer) {
          for (auto& tensor : trainer->state.state()) state.tensors.push_back(std::move(tensor));
        }
        // What cannot be used must not take the place of a file that can.
        if (const std::string* name = model::first_not_finite(state.tensors)) {
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
  exports.Set("loadModel", Napi::Function::New(env, load_model, "loadModel"));
  exports.Set("loadImageWeights", Napi::Function::New(env, load_image_weights, "loadImageWeights"));
  exports.Set("saveCheckpoint", Napi::Function::New(env, save_checkpoint, "saveCheckpoint"));
  exports.Set("restoreTrainer", Napi::Function::New(env, restore_trainer, "restoreTrainer"));
}

}  // namespace soundspot::binding
