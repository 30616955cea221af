// Training: one step at a time, and the state that a resumed run needs.
#include "binding/convert.h"
#include "binding/functions.h"
#include "binding/group_handle.h"
#include "binding/trainer_handle.h"

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
        trainer->model->weights_changed();
        trainer->state.broadcast(statistics_alone);
        return true;
      },
      [](Napi::Env env, bool&) { return env.Undefined(); });
}

training::StepOptions step_options(const Napi::Object& object) {
  training::StepOptions options;
  options.optimizer.learning_rate = number(object, "learningRate");
  options.optimizer.beta1 = number(object, "beta1");
  options.optimizer.beta2 = number(object, "beta2");
  options.optimizer.epsilon = number(object, "epsilon");
  options.optimizer.weight_decay = number(object, "weightDecay");
  options.optimizer.coupled = boolean(object, "coupledDecay");
  options.false_negative_k = integer(object, "falseNegativeK");
  options.clip = number(object, "clip");
  options.compute.precision = precision(object);
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

/// A view of each sample as a batch on a device.
methods::View view_of(const std::vector<std::shared_ptr<Sample>>& samples, at::Device device) {
  const auto [images, spectrograms] = stack(samples);
  return {images.to(device), spectrograms.to(device)};
}

// step(trainer, samples, options, views: { [name]: samples }) → Promise<{ losses, diagnostics, gradientNorm, stop,
// gradients }>
Napi::Value step(const Napi::CallbackInfo& call) {
  const auto trainer = unwrap<TrainerHandle>(call[0]);
  const auto batch = samples(call[1]);
  training::StepOptions options = step_options(call[2].As<Napi::Object>());
  options.compute.device = trainer->model->localizer->device();
  const auto given = call[3].As<Napi::Object>();
  std::map<std::string, std::vector<std::shared_ptr<Sample>>> others;
  for (const std::string& name : trainer->model->localizer->method().views()) others[name] = samples(given.Get(name));
  return Job<training::StepResult>::compute(
      call.Env(), {},
      [=] {
        const at::Device device = options.compute.device;
        methods::Views views{view_of(batch, device), {}};
        for (const auto& [name, other] : others) views.others.emplace(name, view_of(other, device));
        const std::unique_lock lock(trainer->model->mutex);
        trainer->model->weights_changed();
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
  exports.Set("step", Napi::Function::New(env, step, "step"));
  exports.Set("broadcastTrainer", Napi::Function::New(env, broadcast_trainer, "broadcastTrainer"));
}

}  // namespace soundspot::binding
