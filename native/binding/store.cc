// Stores of samples: opened, asked and read.
#include <algorithm>
#include <utility>

#include "binding/augmentation.h"
#include "binding/convert.h"
#include "binding/functions.h"
#include "binding/open_store.h"
#include "core/error.h"
#include "signal/resize.h"

namespace soundspot::binding {

namespace {

std::vector<int64_t> indices_from(const Napi::Value& value) {
  const auto array = value.As<Napi::Uint32Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

signal::Crop stored_crop(const std::string& name) {
  return name == "square" ? signal::Crop::kWhole : name == "short" ? signal::Crop::kShortSide : signal::Crop::kResized;
}

// openStore(folder, { part, samples, images: "square" | "short" | "whole", side }, config) → Promise<handle>
Napi::Value open_store(const Napi::CallbackInfo& call) {
  const std::string folder = call[0].As<Napi::String>().Utf8Value();
  const auto options = call[1].As<Napi::Object>();
  const int64_t part = integer(options, "part"), samples = integer(options, "samples");
  const signal::Crop crop = stored_crop(text(options, "images"));
  const int64_t side = integer(options, "side");
  const encoders::ModelConfig config = model_config(call[2].As<Napi::Object>());
  return Job<std::shared_ptr<OpenStore>>::run(
      call.Env(), {},
      [=] {
        return std::shared_ptr<OpenStore>(
            new OpenStore{{folder, part, samples, config.frequency_bins(), config.frames()}, crop, side});
      },
      [](Napi::Env env, std::shared_ptr<OpenStore>& opened) { return wrap(env, opened); });
}

// closeStore(store): waits for what is being appended; nothing is written afterwards
Napi::Value close_store(const Napi::CallbackInfo& call) {
  unwrap<OpenStore>(call[0])->samples.close();
  return release<OpenStore>(call);
}

// storeStatus(store) → { samples, bytes, failure? }
Napi::Value store_status(const Napi::CallbackInfo& call) {
  const store::Status status = unwrap<OpenStore>(call[0])->samples.status();
  Napi::Object result = Napi::Object::New(call.Env());
  result.Set("samples", static_cast<double>(status.samples));
  result.Set("bytes", static_cast<double>(status.bytes));
  if (!status.failure.empty()) result.Set("failure", status.failure);
  return result;
}

// findStored(store, indices) → Promise<Uint8Array>: 1 for each sample that is there, which the system is asked to fetch
// from the disk
Napi::Value find_stored(const Napi::CallbackInfo& call) {
  const auto opened = unwrap<OpenStore>(call[0]);
  return Job<Tensor>::run(
      call.Env(), {},
      [opened, indices = indices_from(call[1])] {
        store::SampleStore& samples = opened->samples;
        const auto there = [&](int64_t index) { return samples.has(index); };
        if (!std::all_of(indices.begin(), indices.end(), there)) samples.refresh();
        const Tensor found = at::empty({static_cast<int64_t>(indices.size())}, at::kByte);
        uint8_t* out = found.mutable_data_ptr<uint8_t>();
        for (const int64_t index : indices) {
          *out++ = there(index) ? 1 : 0;
          samples.expect(index);
        }
        return found;
      },
      [](Napi::Env env, Tensor& found) { return bytes_to_javascript(env, found); });
}

/// Samples of a batch from a store. They are the rows of two tensors, which a step on the CPU takes without a copy.
struct StoredBatch {
  std::shared_ptr<OpenStore> opened;
  encoders::ModelConfig config;
  std::optional<Augmentation> augmented;
  bool unfinished;  // changes of images are left to a device
  std::vector<int64_t> indices;
  std::vector<uint64_t> seeds;

  /// Null for what is not there, and for images that the augmentation rejects.
  std::vector<std::shared_ptr<Sample>> read() const {
    const auto count = static_cast<int64_t>(indices.size());
    const Tensor images =
        unfinished ? Tensor() : at::empty({count, 3, config.image_size, config.image_size}, at::kFloat);
    const Tensor spectrograms = at::empty({count, 1, config.frequency_bins(), config.frames()}, at::kFloat);
    std::vector<std::shared_ptr<Sample>> result(indices.size());
    at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      const at::NoGradGuard no_grad;
      for (int64_t i = begin; i < end; ++i) {
        result[i] = sample(i, unfinished ? Tensor() : images.select(0, i), spectrograms.select(0, i));
      }
    });
    return result;
  }

 private:
  std::shared_ptr<Sample> sample(int64_t i, const Tensor& image, Tensor spectrogram) const {
    const auto pixels = opened->samples.read(indices[i], spectrogram.mutable_data_ptr<float>());
    if (!pixels) return nullptr;
    auto sample = std::make_shared<Sample>();
    signal::DrawnImage drawn;
    try {
      drawn = drawn_image(*pixels, augmented, config.image_size, seeds[i]);
    } catch (const Error&) {
      return nullptr;  // an image that this view cannot take: `prepare` throws its error
    }
    if (unfinished) {
      sample->drawn = std::move(drawn);
    } else {
      signal::normalize_image(signal::apply_change(std::move(drawn)), image.mutable_data_ptr<float>());
      sample->image = image;
    }
    if (augmented) signal::mask_in_place(spectrogram, augmented->masks, mask_seed(seeds[i]));
    sample->spectrogram = spectrogram;
    return sample;
  }
};

// readStored(store, indices, config, augmentation?, seeds?, model) → Promise<(Sample | undefined)[]>, as `prepare`
// makes them of the samples themselves. On the CPU all cores read, between two steps: a core that read beside a step
// would keep all others waiting.
Napi::Value read_stored(const Napi::CallbackInfo& call) {
  const encoders::ModelConfig config = model_config(call[2].As<Napi::Object>());
  StoredBatch batch{unwrap<OpenStore>(call[0]), config, augmentation(call[3], config), left_to_device(call[5]),
                    indices_from(call[1]),      {}};
  if (batch.augmented) {
    const auto seeds = call[4].As<Napi::BigUint64Array>();
    batch.seeds.assign(seeds.Data(), seeds.Data() + seeds.ElementLength());
  } else {
    batch.seeds.resize(batch.indices.size());
  }
  const bool on_cpu = unwrap<ModelHandle>(call[5])->localizer->device().is_cpu();
  using Read = Job<std::vector<std::shared_ptr<Sample>>>;
  return (on_cpu ? Read::compute : Read::run)(
      call.Env(), {}, [batch = std::move(batch)] { return batch.read(); },
      [](Napi::Env env, std::vector<std::shared_ptr<Sample>>& samples) {
        Napi::Array result = Napi::Array::New(env, samples.size());
        for (size_t i = 0; i < samples.size(); ++i) {
          if (samples[i]) result.Set(static_cast<uint32_t>(i), wrap(env, samples[i]));
        }
        return result;
      });
}

}  // namespace

void register_store(Napi::Env env, Napi::Object exports) {
  exports.Set("openStore", Napi::Function::New(env, open_store, "openStore"));
  exports.Set("closeStore", Napi::Function::New(env, close_store, "closeStore"));
  exports.Set("storeStatus", Napi::Function::New(env, store_status, "storeStatus"));
  exports.Set("findStored", Napi::Function::New(env, find_stored, "findStored"));
  exports.Set("readStored", Napi::Function::New(env, read_stored, "readStored"));
}

}  // namespace soundspot::binding
