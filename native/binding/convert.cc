#include "binding/convert.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "core/precision.h"
#include "core/processor.h"
#include "kernels/device.h"
#include "signal/resize.h"

namespace soundspot::binding {

std::shared_ptr<const inference::Engine> ModelHandle::engine(core::Precision precision) {
  const std::lock_guard lock(engines_mutex_);
  auto& engine = engines_[precision];
  if (!engine) engine = inference::make_engine(localizer, {localizer->device(), precision});
  return engine;
}

std::shared_ptr<const inference::Engine> ModelHandle::reference(core::Precision precision) const {
  return inference::reference_engine(localizer, {localizer->device(), precision});
}

void ModelHandle::change_weights() {
  const std::lock_guard lock(engines_mutex_);
  localizer->end_quantization();
  quantized_ = false;
  engines_ = {};
  ++changes_;
}

namespace {

/// Looks at the tensor's memory, and the tensor lives as long as the buffer; where that is not allowed, as in Electron,
/// it is a copy. The tensor is contiguous and not empty.
Napi::ArrayBuffer array_buffer(Napi::Env env, const Tensor& tensor) {
  const size_t bytes = tensor.nbytes();
  auto* held = new Tensor(tensor);
  napi_value value = nullptr;
  const napi_status status = napi_create_external_arraybuffer(
      env, held->mutable_data_ptr(), bytes, [](napi_env, void*, void* kept) { delete static_cast<Tensor*>(kept); },
      held, &value);
  if (status == napi_ok) return {env, value};
  // A generic failure is one of what comes after the memory was handed over, which is then freed by its own.
  if (status != napi_generic_failure) delete held;
  if (status != napi_no_external_buffers_allowed) throw Napi::Error::New(env);
  Napi::ArrayBuffer copy = Napi::ArrayBuffer::New(env, bytes);
  std::memcpy(copy.Data(), tensor.const_data_ptr(), bytes);
  return copy;
}

}  // namespace

Napi::Value bytes_to_javascript(Napi::Env env, const Tensor& bytes) {
  return Napi::Uint8Array::New(env, bytes.nbytes(), array_buffer(env, bytes), 0);
}

Napi::Value tensor_to_javascript(Napi::Env env, const Tensor& tensor) {
  const at::NoGradGuard no_grad;
  const Tensor values = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
  const auto count = static_cast<size_t>(values.numel());
  Napi::Object result = Napi::Object::New(env);
  result.Set("data", count == 0 ? Napi::Float32Array::New(env, 0)
                                : Napi::Float32Array::New(env, count, array_buffer(env, values), 0));
  Napi::Array shape = Napi::Array::New(env, static_cast<size_t>(tensor.dim()));
  for (int64_t i = 0; i < tensor.dim(); ++i) {
    shape.Set(static_cast<uint32_t>(i), Napi::Number::New(env, static_cast<double>(tensor.size(i))));
  }
  result.Set("shape", shape);
  return result;
}

Napi::TypedArray typed_array(const Napi::Object& object, const char* name, napi_typedarray_type type) {
  const Napi::Value value = object.Get(name);
  if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == type) {
    return value.As<Napi::TypedArray>();
  }
  const std::string wanted = type == napi_float32_array ? "Float32Array" : "Uint8Array";
  throw to_javascript(object.Env(), "ERR_INPUT", std::string(name) + " must be a " + wanted + ".");
}

Tensor tensor_from_javascript(const Napi::Value& value) {
  if (!value.IsObject()) {
    throw to_javascript(value.Env(), "ERR_INPUT", "A tensor must be { data: Float32Array, shape: number[] }.");
  }
  const auto object = value.As<Napi::Object>();
  auto data = typed_array(object, "data", napi_float32_array).As<Napi::Float32Array>();
  if (!object.Get("shape").IsArray()) {
    throw to_javascript(value.Env(), "ERR_INPUT", "A tensor's shape must be a list of numbers.");
  }
  const auto dimensions = object.Get("shape").As<Napi::Array>();
  std::vector<int64_t> shape;
  auto left = static_cast<int64_t>(data.ElementLength());  // divided down to 1, so that no product overflows
  bool whole = true, empty = false;
  for (uint32_t i = 0; i < dimensions.Length(); ++i) {
    const Napi::Value size = dimensions.Get(i);
    shape.push_back(size.IsNumber() ? size.As<Napi::Number>().Int64Value() : -1);
    if (shape.back() < 0) whole = false;
    if (shape.back() == 0) empty = true;
    if (shape.back() <= 0) continue;
    if (left % shape.back() != 0) whole = false;
    left /= shape.back();
  }
  if (!whole || (empty ? data.ElementLength() != 0 : left != 1)) {
    throw to_javascript(value.Env(), "ERR_SHAPE", "A tensor's data length is not the product of its shape.");
  }
  return at::from_blob(data.Data(), shape, at::kFloat);
}

namespace {

Napi::Value member(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (value.IsUndefined()) {
    throw to_javascript(object.Env(), "ERR_INTERNAL", std::string("The addon was not given ") + name + ".");
  }
  return value;
}

}  // namespace

double number(const Napi::Object& object, const char* name) { return member(object, name).ToNumber().DoubleValue(); }

int64_t integer(const Napi::Object& object, const char* name) { return member(object, name).ToNumber().Int64Value(); }

bool boolean(const Napi::Object& object, const char* name) { return member(object, name).ToBoolean().Value(); }

bool in_bfloat16(const Napi::Object& object) {
  return boolean(object, "bfloat16") && core::processor().multiplies_bfloat16();
}

std::string text(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::String>().Utf8Value();
}

namespace {

/// The value that stands for the text under `name`.
template <class T>
T one_of(const Napi::Object& object, const char* name, const std::map<std::string, T>& values) {
  const auto found = values.find(text(object, name));
  if (found != values.end()) return found->second;
  throw to_javascript(object.Env(), "ERR_INTERNAL",
                      std::string("The addon was given another ") + name + " than it has.");
}

}  // namespace

core::Precision precision(const Napi::Object& object, at::Device device) {
  std::map<std::string, core::Precision> values;
  for (const core::Precision each : core::kPrecisions) values.emplace(core::name_of(each), each);
  return core::computed(one_of(object, "precision", values), device);
}

namespace {

signal::SpectrogramOptions spectrogram_options(const Napi::Object& audio) {
  signal::SpectrogramOptions options;
  options.sample_rate = integer(audio, "sampleRate");
  options.seconds = number(audio, "seconds");
  const Napi::Value placement = member(audio, "placement");
  if (placement.IsNumber()) {
    options.begin = std::llround(placement.ToNumber().DoubleValue() * static_cast<double>(options.sample_rate));
  } else if (text(audio, "placement") == "start") {
    options.begin = 0;
  }
  options.channels = one_of<signal::Channels>(
      audio, "channels",
      {{"power", signal::Channels::kPower}, {"mix", signal::Channels::kMix}, {"first", signal::Channels::kFirst}});
  options.front_end = one_of<signal::FrontEnd>(
      audio, "frontEnd",
      {{"stft", signal::FrontEnd::kStft}, {"scipy", signal::FrontEnd::kScipy}, {"mel", signal::FrontEnd::kMel}});
  options.window = integer(audio, "window");
  options.hop = integer(audio, "hop");
  options.mel_bands = integer(audio, "melBands");
  options.log_offset = number(audio, "logOffset");
  options.scale = number(audio, "scale");
  return options;
}

}  // namespace

encoders::ModelConfig model_config(const Napi::Object& object) {
  encoders::ModelConfig config;
  config.image_size = integer(object, "imageSize");
  config.image_stages = integer(object, "imageStages");
  config.image_stride = integer(object, "imageStride");
  config.image_width = integer(object, "imageWidth");
  config.audio_stages = integer(object, "audioStages");
  config.audio_stride = integer(object, "audioStride");
  config.audio_width = integer(object, "audioWidth");
  config.dim = integer(object, "dim");
  using encoders::AudioPooling, encoders::Names, encoders::Projection;
  config.audio_pooling = one_of<AudioPooling>(
      object, "audioPooling", {{"frequency", AudioPooling::kFrequency}, {"global", AudioPooling::kGlobal}});
  const std::map<std::string, Projection> projections{
      {"pointwise", Projection::kPointwise}, {"linear", Projection::kLinear}, {"none", Projection::kNone}};
  config.image_projection = one_of(object, "imageProjection", projections);
  config.audio_projection = one_of(object, "audioProjection", projections);
  config.image_dropout = number(object, "imageDropout");
  config.audio_dropout = number(object, "audioDropout");
  config.normal_scales = text(object, "batchNormScale") == "normal";
  config.names = one_of<Names>(
      object, "names",
      {{"joint-slot-attention", Names::kJointSlotAttention}, {"ez-vsl", Names::kEzVsl}, {"lvs", Names::kLvs}});
  const auto method = object.Get("method").As<Napi::Object>();
  const Napi::Array fields = method.GetPropertyNames();
  for (uint32_t i = 0; i < fields.Length(); ++i) {
    const std::string field = fields.Get(i).As<Napi::String>().Utf8Value();
    const Napi::Value value = method.Get(field);
    if (field == "name") {
      config.method.name = value.As<Napi::String>().Utf8Value();
    } else if (value.IsNumber() || value.IsBoolean()) {
      config.method.numbers[field] = value.ToNumber().DoubleValue();
    }
  }
  config.audio = spectrogram_options(object.Get("audio").As<Napi::Object>());
  return config;
}

std::vector<std::shared_ptr<Sample>> samples(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  std::vector<std::shared_ptr<Sample>> result;
  result.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) result.push_back(unwrap<Sample>(array.Get(i)));
  return result;
}

Tensor Sample::finished_image() const {
  return drawn ? signal::normalize_image(signal::apply_change({drawn->pixels.clone(), drawn->change})) : image;
}

namespace {

Tensor stacked_spectrograms(const std::vector<std::shared_ptr<Sample>>& samples, at::Device device) {
  std::vector<Tensor> spectrograms;
  for (const auto& sample : samples) spectrograms.push_back(sample->spectrogram);
  return core::stacked(spectrograms, device);
}

}  // namespace

std::pair<Tensor, Tensor> stack(const std::vector<std::shared_ptr<Sample>>& samples, at::Device device) {
  std::vector<Tensor> images;
  for (const auto& sample : samples) images.push_back(sample->finished_image());
  return {core::stacked(images, device), stacked_spectrograms(samples, device)};
}

core::Upload upload(const std::vector<std::vector<std::shared_ptr<Sample>>>& batches, at::Device device) {
  const kernels::DeviceKernels* const kernels = kernels::kernels_of(device);
  std::vector<Tensor> tensors;
  std::vector<bool> augmented_there;  // of each batch: squares and their changes are in the place of its images
  for (const auto& batch : batches) {
    augmented_there.push_back(kernels != nullptr && std::all_of(batch.begin(), batch.end(), [](const auto& sample) {
                                return sample->drawn.has_value();
                              }));
    if (augmented_there.back()) {
      std::vector<Tensor> squares, changes;
      for (const auto& sample : batch) {
        squares.push_back(sample->drawn->pixels);
        changes.push_back(signal::bytes_of(sample->drawn->change));
      }
      tensors.insert(tensors.end(), {core::stacked(squares, device), core::stacked(changes, device),
                                     stacked_spectrograms(batch, device)});
    } else {
      const auto [images, spectrograms] = stack(batch, device);
      tensors.insert(tensors.end(), {images, spectrograms});
    }
  }
  return {tensors, device, [&](std::vector<Tensor> arrived) {
            std::vector<Tensor> result;
            auto next = arrived.begin();
            for (const bool augments : augmented_there) {
              const Tensor first = std::move(*next++);  // whose memory the next batch may use
              result.push_back(augments ? kernels->augment(first, *next++) : first);
              result.push_back(*next++);
            }
            return result;
          }};
}

}  // namespace soundspot::binding
