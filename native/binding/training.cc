// Training: one step at a time, and the state that a resumed run needs.
#include "binding/convert.h"
#include "binding/functions.h"
#include "binding/group_handle.h"
#include "binding/trainer_handle.h"
#include "core/precision.h"

namespace soundspot::binding {

namespace {

// createTrainer(model, seed, group?) → handle
Napi::Value create_trainer(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<ModelHandle>(call[0]);
  const auto seed = static_cast<uint64_t>(call[1].As<Napi::Number>().Int64Value());
  const auto group = call[2].IsUndefined() ? nullptr : unwrap<GroupHandle>(call[2])->group;
  std::shared_ptr<TrainerHandle> trainer;
  std::string code, message;
  if (!guarded([&] { trainer = std::make_shared<TrainerHandle>(handle, seed, group); }, code, message)) {
    throw to_javascript(call.Env(), code, message);
  }
  return wrap(call.Env(), trainer);
}

// releaseTrainer(trainer): its optimizer's state, at once; a step that is being taken ends first
Napi::Value release_trainer(const Napi::CallbackInfo& call) { return release<TrainerHandle>(call); }

// broadcastTrainer(trainer, statisticsAlone) → Promise<void>: rank 0's to every process of its group
Napi::Value broadcast_trainer(const Napi::CallbackInfo& call) {
  const auto trainer = unwrap<TrainerHandle>(call[0]);
  const bool statistics_alone = call[1].ToBoolean();
  return Job<bool>::run(
      call.Env(), {},
      [=] {
        const std::unique_lock lock(trainer->model->mutex);
        trainer->model->change_weights();
        trainer->state.broadcast(statistics_alone);
        return true;
      },
      [](Napi::Env env, bool&) { return env.Undefined(); });
}

training::StepOptions step_options(const Napi::Object& object, at::Device device) {
  training::StepOptions options;
  options.optimizer.learning_rate = number(object, "learningRate");
  options.optimizer.beta1 = number(object, "beta1");
  options.optimizer.beta2 = number(object, "beta2");
  options.optimizer.epsilon = number(object, "epsilon");
  options.optimizer.weight_decay = number(object, "weightDecay");
  options.optimizer.coupled = boolean(object, "coupledDecay");
  options.false_negative_k = integer(object, "falseNegativeK");
  options.clip = number(object, "clip");
  options.compute = {device, precision(object, device)};
  options.masking = boolean(object, "masking");
  options.micro_batch = integer(object, "microBatchSize");
  options.frozen_statistics = boolean(object, "frozenStatistics");
  options.local_contrast = boolean(object, "localContrast");
  options.shared_statistics = boolean(object, "sharedStatistics");
  options.plain = boolean(object, "plain");
  options.keep_gradients = boolean(object, "gradients");
  options.update = boolean(object, "update");
  options.stop = boolean(object, "stop");
  const auto losses = object.Get("losses").As<Napi::Array>();
  for (uint32_t i = 0; i < losses.Length(); ++i) {
    const auto loss = losses.Get(i).As<Napi::Object>();
    options.losses.push_back(
        {loss.Get("name").As<Napi::String>().Utf8Value(), number(loss, "weight"), number(loss, "temperature")});
  }
  return options;
}

Napi::Object numbers(Napi::Env env, const training::NamedNumbers& values) {
  Napi::Object result = Napi::Object::New(env);
  for (const auto& [name, value] : values) result.Set(name, value);
  return result;
}

/// Samples of a batch and of its further views, in the order of their names.
struct Gathered {
  std::vector<std::string> names;                             // of the views; the pairs have none
  std::vector<std::vector<std::shared_ptr<Sample>>> batches;  // first the pairs

  Gathered(const methods::Method& method, const Napi::Value& pairs, const Napi::Object& others)
      : names(method.views()), batches{samples(pairs)} {
    for (const std::string& name : names) batches.push_back(samples(others.Get(name)));
  }
};

/// A batch on its way to the device of its model.
struct StagedBatch {
  std::vector<std::string> names;
  core::Upload upload;

  /// It is taken once.
  methods::Views views() {
    const std::vector<Tensor> tensors = upload.take();
    if (tensors.empty()) throw Error("ERR_INTERNAL", "The batch was trained on already.");
    methods::Views views{{tensors[0], tensors[1]}, {}};
    for (size_t i = 0; i < names.size(); ++i) {
      views.others.emplace(names[i], methods::View{tensors[2 * i + 2], tensors[2 * i + 3]});
    }
    return views;
  }
};

// stage(trainer, samples, views: { [name]: samples }) → Promise<handle>: the batch of a step, brought to the model's
// device while others are computed there
Napi::Value stage(const Napi::CallbackInfo& call) {
  const auto& localizer = unwrap<TrainerHandle>(call[0])->model->localizer;
  const Gathered gathered(localizer->method(), call[1], call[2].As<Napi::Object>());
  return Job<std::shared_ptr<StagedBatch>>::run(
      call.Env(), {},
      [gathered, device = localizer->device()] {
        return std::make_shared<StagedBatch>(StagedBatch{gathered.names, upload(gathered.batches, device)});
      },
      [](Napi::Env env, std::shared_ptr<StagedBatch>& staged) { return wrap(env, staged); });
}

// step(trainer, samples or handle of a staged batch, options, views: { [name]: samples }) → Promise<{ losses,
// diagnostics, gradientNorm, stop, gradients }>
Napi::Value step(const Napi::CallbackInfo& call) {
  const auto trainer = unwrap<TrainerHandle>(call[0]);
  const methods::Localizer& localizer = *trainer->model->localizer;
  const training::StepOptions options = step_options(call[2].As<Napi::Object>(), localizer.device());
  const auto staged = call[1].IsExternal() ? unwrap<StagedBatch>(call[1]) : nullptr;
  std::optional<Gathered> gathered;
  if (!staged) gathered.emplace(localizer.method(), call[1], call[3].As<Napi::Object>());
  return Job<training::StepResult>::compute(
      call.Env(), {},
      [=] {
        const methods::Views views =
            staged ? staged->views()
                   : StagedBatch{gathered->names, upload(gathered->batches, options.compute.device)}.views();
        const std::unique_lock lock(trainer->model->mutex);
        trainer->model->change_weights();
        return trainer->state.step(views, options);
      },
      [](Napi::Env env, training::StepResult& result) {
        Napi::Object object = Napi::Object::New(env);
        object.Set("losses", numbers(env, result.losses));
        object.Set("diagnostics", numbers(env, result.diagnostics));
        object.Set("gradientNorm", result.gradient_norm);
        object.Set("stop", result.stop);
        Napi::Array gradients = Napi::Array::New(env, result.gradients.size());
        for (size_t i = 0; i < result.gradients.size(); ++i) {
          auto item = tensor_to_javascript(env, result.gradients[i].second).As<Napi::Object>();
          item.Set("name", result.gradients[i].first);
          gradients.Set(static_cast<uint32_t>(i), item);
        }
        object.Set("gradients", gradients);
        return object;
      });
}

}  // namespace

void register_training(Napi::Env env, Napi::Object exports) {
  exports.Set("createTrainer", Napi::Function::New(env, create_trainer, "createTrainer"));
  exports.Set("releaseTrainer", Napi::Function::New(env, release_trainer, "releaseTrainer"));
  exports.Set("stage", Napi::Function::New(env, stage, "stage"));
  exports.Set("step", Napi::Function::New(env, step, "step"));
  exports.Set("broadcastTrainer", Napi::Function::New(env, broadcast_trainer, "broadcastTrainer"));
}

}  // namespace soundspot::binding
