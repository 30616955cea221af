// Preparation of samples: pixels and audio in, normalised tensors held in C++ out.
#include <optional>
#include <utility>

#include "binding/augmentation.h"
#include "binding/convert.h"
#include "binding/functions.h"
#include "binding/open_store.h"
#include "core/finite.h"
#include "signal/augment.h"
#include "signal/blend.h"
#include "signal/resample.h"
#include "signal/resize.h"
#include "signal/spectrogram.h"

namespace soundspot::binding {

namespace {

Tensor pixels(const Napi::Object& image) {
  auto data = typed_array(image, "data", napi_uint8_array).As<Napi::Uint8Array>();
  const int64_t width = integer(image, "width"), height = integer(image, "height");
  const auto bytes = static_cast<int64_t>(data.ElementLength());
  if (width < 1 || height < 1 || width > bytes || bytes % (3 * width) != 0 || bytes / (3 * width) != height) {
    throw to_javascript(image.Env(), "ERR_INPUT", "A raw image needs width × height × 3 bytes of RGB.");
  }
  return at::from_blob(data.Data(), {height, width, 3}, at::kByte);
}

/// A copy in the shape of a sample's part. `values` is contiguous float32.
/// @throws Error ERR_INPUT when a value is not finite.
Tensor finite_copy(const Tensor& values, at::IntArrayRef shape, const char* what) {
  if (!core::all_finite(values.const_data_ptr<float>(), values.numel())) {
    throw Error("ERR_INPUT", std::string(what) + " has values that are not finite. Check where they come from.");
  }
  return values.clone().reshape(shape);
}

struct AudioClip {
  Tensor samples;  // [C, n]
  int64_t rate = 0;
};

AudioClip audio_clip(const Napi::Object& audio) {
  auto data = typed_array(audio, "samples", napi_float32_array).As<Napi::Float32Array>();
  const int64_t channels = integer(audio, "channels");
  const auto length = static_cast<int64_t>(data.ElementLength());
  if (channels < 1 || length % channels != 0) {
    throw to_javascript(audio.Env(), "ERR_INPUT", "Raw audio needs channels × frames samples.");
  }
  if (length == 0) {
    throw to_javascript(audio.Env(), "ERR_AUDIO_EMPTY", "The audio has no samples. Give at least one.");
  }
  return {at::from_blob(data.Data(), {channels, length / channels}, at::kFloat), integer(audio, "sampleRate")};
}

// prepare({ image | tensor, audio | spectrogram }, config, augmentation?, seed?, model?, store?, index?) →
// Promise<Sample>; without one of the two sides it is undefined in the sample, for embed alone. What the device of
// `model` does to images itself is left to it. A store is given what augmentation starts from.
Napi::Value prepare(const Napi::CallbackInfo& call) {
  const auto input = call[0].As<Napi::Object>();
  const encoders::ModelConfig config = model_config(call[1].As<Napi::Object>());

  const bool raw_image = input.Has("image"), raw_audio = input.Has("audio");
  const bool has_image = raw_image || input.Has("tensor"), has_audio = raw_audio || input.Has("spectrogram");
  const Tensor image = raw_image   ? pixels(input.Get("image").As<Napi::Object>())
                       : has_image ? tensor_from_javascript(input.Get("tensor"))
                                   : Tensor();
  const AudioClip clip = raw_audio   ? audio_clip(input.Get("audio").As<Napi::Object>())
                         : has_audio ? AudioClip{tensor_from_javascript(input.Get("spectrogram")), 0}
                                     : AudioClip{};

  const std::optional<Augmentation> augmented = augmentation(call[2], config);
  bool lossless = false;
  const uint64_t seed = augmented ? call[3].As<Napi::BigInt>().Uint64Value(&lossless) : 0;
  const bool unfinished = left_to_device(call[4]);
  const auto store = call[5].IsExternal() ? unwrap<OpenStore>(call[5]) : nullptr;
  const int64_t index = store ? call[6].ToNumber().Int64Value() : 0;

  return Job<std::shared_ptr<Sample>>::run(
      call.Env(), {input},
      [=] {
        const at::NoGradGuard no_grad;
        auto sample = std::make_shared<Sample>();
        // What augmentation starts from: the same sample comes of the image and of what a store holds of it.
        const bool stored = store && raw_image && raw_audio;
        const Tensor kept = stored ? signal::before_crop(image, store->crop, store->side) : image;
        if (!has_image) {
          // Nothing: it is of audio alone.
        } else if (!raw_image) {
          sample->image = finite_copy(image, {3, config.image_size, config.image_size}, "The image tensor");
        } else {
          sample->drawn = drawn_image(kept, augmented, config.image_size, seed);
          if (!unfinished) {
            sample->image = signal::normalize_image(signal::apply_change(*std::exchange(sample->drawn, {})));
          }
        }
        if (!has_audio) return sample;
        if (!raw_audio) {
          sample->spectrogram =
              finite_copy(clip.samples, {1, config.frequency_bins(), config.frames()}, "The spectrogram");
        } else {
          signal::SpectrogramOptions audio = config.audio;
          if (augmented && augmented->audio_range) {
            const auto [from, to] = *augmented->audio_range;
            audio.begin = signal::random_begin(from, to, audio, seed);
          }
          sample->spectrogram = signal::log_spectrogram(clip.samples, clip.rate, audio);
        }
        if (stored) store->samples.write(index, kept, sample->spectrogram);
        if (augmented) {
          sample->spectrogram = signal::mask_spectrogram(sample->spectrogram, augmented->masks, mask_seed(seed));
        }
        return sample;
      },
      [](Napi::Env env, std::shared_ptr<Sample>& sample) { return wrap(env, sample); });
}

// tensors(sample) → { image?, spectrogram? }, shapes [3, size, size] and [1, F, T]
Napi::Value tensors(const Napi::CallbackInfo& call) {
  const auto sample = unwrap<Sample>(call[0]);
  Napi::Object result = Napi::Object::New(call.Env());
  if (sample->has_image()) result.Set("image", tensor_to_javascript(call.Env(), sample->finished_image()));
  if (sample->spectrogram.defined()) {
    result.Set("spectrogram", tensor_to_javascript(call.Env(), sample->spectrogram));
  }
  return result;
}

// resample(audio, rate) → Promise<TensorData [C, n]>
Napi::Value resample(const Napi::CallbackInfo& call) {
  const AudioClip input = audio_clip(call[0].As<Napi::Object>());
  const int64_t rate = call[1].As<Napi::Number>().Int64Value();
  return Job<Tensor>::run(
      call.Env(), {call[0]}, [=] { return signal::resample(input.samples, input.rate, rate); },
      [](Napi::Env env, Tensor& result) { return tensor_to_javascript(env, result); });
}

// blendHeat(image, heat, keep, add, out) → Promise<true>; the caller has checked the lengths
Napi::Value blend_heat(const Napi::CallbackInfo& call) {
  const auto image = call[0].As<Napi::Uint8Array>();
  const auto heat = call[1].As<Napi::Float32Array>();
  const auto keep = call[2].As<Napi::Uint16Array>(), add = call[3].As<Napi::Uint16Array>();
  const std::span<const uint8_t> pixels(image.Data(), image.ElementLength());
  const std::span<const float> heats(heat.Data(), heat.ElementLength());
  const signal::BlendTables tables{{keep.Data(), keep.ElementLength()}, {add.Data(), add.ElementLength()}};
  auto out = call[4].As<Napi::Uint8Array>();
  const std::span<uint8_t> drawn(out.Data(), out.ElementLength());
  return Job<bool>::run(
      call.Env(), {call[0], call[1], call[2], call[3], call[4]},
      [=] {
        signal::blend(pixels, heats, tables, drawn);
        return true;
      },
      [](Napi::Env env, bool& done) { return Napi::Boolean::New(env, done); });
}

}  // namespace

void register_signal(Napi::Env env, Napi::Object exports) {
  exports.Set("prepare", Napi::Function::New(env, prepare, "prepare"));
  exports.Set("releaseSample", Napi::Function::New(env, release<Sample>, "releaseSample"));
  exports.Set("tensors", Napi::Function::New(env, tensors, "tensors"));
  exports.Set("blendHeat", Napi::Function::New(env, blend_heat, "blendHeat"));
  exports.Set("resample", Napi::Function::New(env, resample, "resample"));
}

}  // namespace soundspot::binding
