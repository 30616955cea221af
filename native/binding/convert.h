// Values across N-API: handles, tensors, configurations.
#pragma once

#include <napi.h>

#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <shared_mutex>

#include "binding/job.h"
#include "core/transfer.h"
#include "inference/engine.h"
#include "signal/augment.h"

namespace soundspot::binding {

/// A model and the lock that keeps a training step apart from inference.
struct ModelHandle {
  explicit ModelHandle(std::shared_ptr<methods::Localizer> value)
      : localizer(std::move(value)), quantized_(localizer->quantization().has_value()) {}
  std::shared_ptr<methods::Localizer> localizer;
  std::shared_mutex mutex;

  /// The model frozen for inference, made when it is first asked for. The caller holds the lock, shared or not.
  std::shared_ptr<const inference::Engine> engine(core::Precision precision);
  /// Whether the engine has int8. It does not wait for a training step.
  bool quantized() const { return quantized_; }
  /// The same of LibTorch's own operators, made anew at every call.
  std::shared_ptr<const inference::Engine> reference(core::Precision precision) const;
  /// To be called before a change of a weight, with the lock held. A quantization is of no use any more.
  void change_weights();
  /// How often that was. The caller holds the lock, shared or not.
  uint64_t changes() const { return changes_; }

 private:
  uint64_t changes_ = 0;
  std::atomic<bool> quantized_;
  std::mutex engines_mutex_;
  std::map<core::Precision, std::shared_ptr<const inference::Engine>> engines_;
};

/// An image and its audio, ready for the model.
struct Sample {
  Tensor image;                             // [3, size, size]; undefined where `drawn` is to become it
  std::optional<signal::DrawnImage> drawn;  // whose changes are left to a device that makes them itself
  Tensor spectrogram;                       // [1, F, T]

  bool has_image() const { return image.defined() || drawn; }
  /// The image, where it was left to a device, made here.
  Tensor finished_image() const;
};

/// Hands a C++ object to JavaScript; freed by the garbage collector or release(), or here when a thread that is being
/// terminated takes nothing.
template <class T>
Napi::Value wrap(Napi::Env env, std::shared_ptr<T> value) {
  auto held = std::make_unique<std::shared_ptr<T>>(std::move(value));
  const auto external = Napi::External<std::shared_ptr<T>>::New(
      env, held.get(), [](Napi::Env, std::shared_ptr<T>* kept) { delete kept; });
  held.release();
  return external;
}

/// @throws Napi::Error ERR_DISPOSED when the handle was released.
template <class T>
std::shared_ptr<T> unwrap(const Napi::Value& value) {
  if (!value.IsExternal()) throw to_javascript(value.Env(), "ERR_INTERNAL", "A native handle was expected.");
  const std::shared_ptr<T> held = *value.As<Napi::External<std::shared_ptr<T>>>().Data();
  if (!held) throw to_javascript(value.Env(), "ERR_DISPOSED", "The model was disposed. Load or create it again.");
  return held;
}

/// Frees the object of a handle, once no running job holds it; the handle is of no use any more.
template <class T>
Napi::Value release(const Napi::CallbackInfo& call) {
  call[0].As<Napi::External<std::shared_ptr<T>>>().Data()->reset();
  return call.Env().Undefined();
}

/// A Uint8Array over the memory of a contiguous tensor of bytes that is not empty.
Napi::Value bytes_to_javascript(Napi::Env env, const Tensor& bytes);

/// `{ data: Float32Array, shape }` over the tensor's own memory where it is contiguous float32.
Napi::Value tensor_to_javascript(Napi::Env env, const Tensor& tensor);

/// A tensor over the memory of `{ data: Float32Array, shape }`; the caller keeps the object alive.
/// @throws Napi::Error ERR_INPUT for other data, ERR_SHAPE when the shape is not of its length.
Tensor tensor_from_javascript(const Napi::Value& value);

/// The typed array under `name`. Node-API casts without a look, and elements of another size would be read past the
/// end.
/// @throws Napi::Error ERR_INPUT when it is not a typed array of that type.
Napi::TypedArray typed_array(const Napi::Object& object, const char* name, napi_typedarray_type type);

/// Numbers read from an object by name; a missing one is an internal error, since TypeScript validated it.
double number(const Napi::Object& object, const char* name);
int64_t integer(const Napi::Object& object, const char* name);
bool boolean(const Napi::Object& object, const char* name);
std::string text(const Napi::Object& object, const char* name);
/// The field "precision", or float32 where the device does not multiply it: it never reaches a path that it lacks.
core::Precision precision(const Napi::Object& object, at::Device device);
/// The field "bfloat16": whether that is wanted, and the processor multiplies it.
bool in_bfloat16(const Napi::Object& object);

encoders::ModelConfig model_config(const Napi::Object& object);

/// Images and spectrograms of an array of Sample handles, stacked on the CPU for `device` to copy.
std::vector<std::shared_ptr<Sample>> samples(const Napi::Value& array);
std::pair<Tensor, Tensor> stack(const std::vector<std::shared_ptr<Sample>>& samples, at::Device device);
/// Images and spectrograms of several batches in turn, on their way to `device`. It makes the changes of images that
/// were left to it beside the work that goes on there.
core::Upload upload(const std::vector<std::vector<std::shared_ptr<Sample>>>& batches, at::Device device);

}  // namespace soundspot::binding
