// Models: creation, parameters, encoding, localization.
#include "binding/convert.h"
#include "binding/functions.h"
#include "localization/heatmap.h"
#include "losses/false_negatives.h"
#include "losses/loss.h"
#include "retrieval/nearest.h"

namespace soundspot::binding {

namespace {

using model::Outputs;

// createModel(config, seed) → Promise<handle>
Napi::Value create_model(const Napi::CallbackInfo& call) {
  const model::ModelConfig config = model_config(call[0].As<Napi::Object>());
  const auto seed = static_cast<uint64_t>(call[1].As<Napi::Number>().Int64Value());
  return Job<std::shared_ptr<ModelHandle>>::run(
      call.Env(), {}, [=] { return std::make_shared<ModelHandle>(std::make_shared<model::Localizer>(config, seed)); },
      [](Napi::Env env, std::shared_ptr<ModelHandle>& handle) { return wrap(env, handle); });
}

// release(handle): what no running job holds is freed at once
Napi::Value release(const Napi::CallbackInfo& call) {
  call[0].As<Napi::External<std::shared_ptr<ModelHandle>>>().Data()->reset();
  return call.Env().Undefined();
}

// parameters(handle) → Promise<{ name, shape, data, trainable }[]>, copies
Napi::Value parameters(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<ModelHandle>(call[0]);
  return Job<std::vector<model::Parameter>>::run(
      call.Env(), {},
      [handle] {
        const std::shared_lock lock(handle->mutex);
        const at::NoGradGuard no_grad;
        std::vector<model::Parameter> copies;
        for (const model::Parameter& parameter : handle->localizer->parameters().all()) {
          const Tensor copy = parameter.value.detach().to(at::kFloat).clone(at::MemoryFormat::Contiguous);
          copies.push_back({parameter.name, copy, parameter.trainable});
        }
        return copies;
      },
      [](Napi::Env env, std::vector<model::Parameter>& copies) {
        Napi::Array list = Napi::Array::New(env, copies.size());
        for (size_t i = 0; i < copies.size(); ++i) {
          auto item = tensor_to_javascript(env, copies[i].value).As<Napi::Object>();
          item.Set("name", copies[i].name);
          item.Set("trainable", copies[i].trainable);
          list.Set(static_cast<uint32_t>(i), item);
        }
        return list;
      });
}

// setParameters(handle, { name, shape, data }[]) → Promise<void>; all or nothing
Napi::Value set_parameters(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<ModelHandle>(call[0]);
  const auto list = call[1].As<Napi::Array>();
  model::NamedTensors tensors;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const auto item = list.Get(i).As<Napi::Object>();
    tensors.emplace_back(item.Get("name").As<Napi::String>().Utf8Value(), tensor_from_javascript(item));
  }
  return Job<bool>::run(
      call.Env(), {call[1]},
      [handle, tensors] {
        const std::unique_lock lock(handle->mutex);
        model::Parameters& target = handle->localizer->parameters();
        target.check(tensors);
        if (const std::string* name = model::first_not_finite(tensors)) {
          throw Error("ERR_INPUT", *name + " has values that are not finite. Look where they come from.");
        }
        for (const auto& [name, tensor] : tensors) target.assign(name, tensor);
        handle->weights_changed();
        return true;
      },
      [](Napi::Env env, bool&) { return env.Undefined(); });
}

void set_attention(Napi::Env env, Napi::Object& result, const model::JointAttention& attention) {
  result.Set("imageSlots", tensor_to_javascript(env, attention.image_slots));
  result.Set("audioSlots", tensor_to_javascript(env, attention.audio_slots));
  result.Set("imageQueries", tensor_to_javascript(env, attention.image_queries));
  result.Set("audioQueries", tensor_to_javascript(env, attention.audio_queries));
  result.Set("imageOnImage", tensor_to_javascript(env, attention.image_on_image));
  result.Set("audioOnImage", tensor_to_javascript(env, attention.audio_on_image));
  result.Set("audioOnAudio", tensor_to_javascript(env, attention.audio_on_audio));
  result.Set("imageOnAudio", tensor_to_javascript(env, attention.image_on_audio));
}

/// Weights may be finite and yet too large to compute with.
/// @throws Error ERR_INTERNAL when one of the results is not finite.
void check_finite(const std::vector<Tensor>& results) {
  for (const Tensor& values : results) {
    if (!model::first_not_finite({{"", values}})) continue;
    throw Error("ERR_INTERNAL",
                "The model gives values that are not finite: its weights are too large to compute with. Take an "
                "earlier checkpoint of its training.");
  }
}

void check_finite(const model::JointAttention& attention) {
  check_finite(std::vector{attention.image_slots, attention.audio_slots, attention.image_on_image,
                           attention.audio_on_image, attention.audio_on_audio, attention.image_on_audio});
}

// encode(handle, samples, { sharpening, bfloat16, plain }) → Promise<outputs>, batch first; `plain` takes the
// composition that the engine is compared with
Napi::Value encode(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<ModelHandle>(call[0]);
  const auto batch = samples(call[1]);
  const auto options = call[2].As<Napi::Object>();
  const double sharpening = number(options, "sharpening");
  const bool bfloat16 = in_bfloat16(options), plain = boolean(options, "plain");
  return Job<Outputs>::compute(
      call.Env(), {},
      [=] {
        const auto [images, spectrograms] = stack(batch);
        const std::shared_lock lock(handle->mutex);
        Outputs outputs = plain ? handle->localizer->infer(images, spectrograms, sharpening, bfloat16)
                                : handle->engine(bfloat16)->infer(images, spectrograms, sharpening);
        check_finite(outputs.attention);
        return outputs;
      },
      [](Napi::Env env, Outputs& outputs) {
        Napi::Object result = Napi::Object::New(env);
        result.Set("imageFeatures", tensor_to_javascript(env, outputs.image_features));
        result.Set("audioFeatures", tensor_to_javascript(env, outputs.audio_features));
        set_attention(env, result, outputs.attention);
        return result;
      });
}

struct Spot {
  Tensor heatmap, audio_map, image_map;   // [height, width]
  Tensor iqr_map, ogl_map, combined_map;  // undefined where not asked for
  Tensor mask;                            // bool
  std::vector<model::Region> regions;
  double confidence = 0;
  model::JointAttention attention;  // of this sample, [S, …]
};

model::JointAttention select(const model::JointAttention& batch, int64_t index) {
  model::JointAttention one;
  one.image_slots = batch.image_slots[index];
  one.audio_slots = batch.audio_slots[index];
  one.image_queries = batch.image_queries[index];
  one.audio_queries = batch.audio_queries[index];
  one.image_on_image = batch.image_on_image[index];
  one.audio_on_image = batch.audio_on_image[index];
  one.audio_on_audio = batch.audio_on_audio[index];
  one.image_on_audio = batch.image_on_audio[index];
  if (batch.logits.image_on_image.defined()) {
    const auto& [image_on_image, audio_on_image, audio_on_audio, image_on_audio] = batch.logits;
    one.logits = {image_on_image[index], audio_on_image[index], audio_on_audio[index], image_on_audio[index]};
  }
  return one;
}

struct LocalizeOptions {
  double sharpening, threshold, alpha;
  std::string refine;  // none, iqr, ogl or combined
  bool all_maps;       // give every map that can be made
  Tensor objectness;   // [B, side, side]; undefined without
  bool bfloat16;
  std::vector<std::pair<int64_t, int64_t>> sizes;  // height and width of each map
};

std::vector<Spot> localize_batch(ModelHandle& handle, const Tensor& images, const Tensor& spectrograms,
                                 const LocalizeOptions& options) {
  const at::NoGradGuard no_grad;
  const model::ModelConfig& config = handle.localizer->config();
  const Outputs outputs = handle.engine(options.bfloat16)->infer(images, spectrograms, options.sharpening);
  check_finite(outputs.attention);
  const Tensor similarity = losses::target_similarity(
      losses::target_vectors(outputs.attention.image_slots, config.target_slots),
      losses::target_vectors(outputs.attention.audio_slots, config.target_slots), config.target_slots);
  const int64_t side = config.image_tokens_per_side();
  std::vector<Spot> spots(static_cast<size_t>(images.size(0)));
  const auto fill = [&](int64_t i) {
    const at::NoGradGuard on_this_thread;
    const auto [height, width] = options.sizes[static_cast<size_t>(i)];
    Spot& spot = spots[static_cast<size_t>(i)];
    spot.attention = select(outputs.attention, i);
    const Tensor rows = at::stack({spot.attention.audio_on_image, spot.attention.image_on_image});
    const Tensor maps = model::heatmap(rows.narrow(1, 0, config.target_slots), side, height, width);
    const Tensor audio = maps.narrow(0, 0, 1), image = maps.narrow(0, 1, 1);
    spot.audio_map = audio[0];
    spot.image_map = image[0];
    const auto wanted = [&](const char* name) { return options.all_maps || options.refine == name; };
    if (wanted("iqr")) spot.iqr_map = model::refine(audio, image, options.alpha)[0];
    if (options.objectness.defined()) {
      const Tensor grid = options.objectness[i];
      const Tensor objects = model::heatmap(grid.reshape({1, 1, -1}), grid.size(0), height, width);
      if (wanted("ogl")) spot.ogl_map = model::refine(audio, objects, options.alpha)[0];
      if (wanted("combined")) spot.combined_map = model::refine(audio, (image + objects) / 2, options.alpha)[0];
    }
    spot.heatmap = options.refine == "iqr"        ? spot.iqr_map
                   : options.refine == "ogl"      ? spot.ogl_map
                   : options.refine == "combined" ? spot.combined_map
                                                  : spot.audio_map;
    spot.heatmap = spot.heatmap.contiguous();
    spot.mask = (spot.heatmap >= options.threshold).to(at::kByte).contiguous();
    spot.regions = model::regions(spot.heatmap, options.threshold);
    spot.confidence = similarity[i][i].item<double>();
  };
  at::parallel_for(0, images.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) fill(i);
  });
  return spots;
}

Napi::Array boxes_to_javascript(Napi::Env env, const std::vector<model::Region>& regions) {
  Napi::Array boxes = Napi::Array::New(env, regions.size());
  for (size_t i = 0; i < regions.size(); ++i) {
    const model::Region& region = regions[i];
    Napi::Object box = Napi::Object::New(env);
    box.Set("x", static_cast<double>(region.x));
    box.Set("y", static_cast<double>(region.y));
    box.Set("width", static_cast<double>(region.width));
    box.Set("height", static_cast<double>(region.height));
    box.Set("score", region.score);
    boxes.Set(static_cast<uint32_t>(i), box);
  }
  return boxes;
}

Napi::Value spot_to_javascript(Napi::Env env, const Spot& spot) {
  Napi::Object result = Napi::Object::New(env);
  const Napi::Value audio_map = tensor_to_javascript(env, spot.audio_map);
  result.Set("audioMap", audio_map);
  // Not refined, they are one: the collector counts its memory once.
  result.Set("heatmap", spot.heatmap.is_same(spot.audio_map) ? audio_map : tensor_to_javascript(env, spot.heatmap));
  result.Set("imageMap", tensor_to_javascript(env, spot.image_map));
  if (spot.iqr_map.defined()) result.Set("iqrMap", tensor_to_javascript(env, spot.iqr_map));
  if (spot.ogl_map.defined()) result.Set("oglMap", tensor_to_javascript(env, spot.ogl_map));
  if (spot.combined_map.defined()) result.Set("combinedMap", tensor_to_javascript(env, spot.combined_map));
  result.Set("mask", bytes_to_javascript(env, spot.mask));
  result.Set("boxes", boxes_to_javascript(env, spot.regions));
  result.Set("confidence", spot.confidence);
  set_attention(env, result, spot.attention);
  if (const model::AttentionLogits& own = spot.attention.logits; own.image_on_image.defined()) {
    Napi::Object logits = Napi::Object::New(env);
    logits.Set("imageOnImage", tensor_to_javascript(env, own.image_on_image));
    logits.Set("audioOnImage", tensor_to_javascript(env, own.audio_on_image));
    logits.Set("audioOnAudio", tensor_to_javascript(env, own.audio_on_audio));
    logits.Set("imageOnAudio", tensor_to_javascript(env, own.image_on_audio));
    result.Set("logits", logits);
  }
  return result;
}

// localize(handle, samples, { sharpening, threshold, alpha, refine, allMaps, objectness?, bfloat16,
//   sizes: [height, width][] }) → Promise<spot[]>
Napi::Value localize(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<ModelHandle>(call[0]);
  const auto batch = samples(call[1]);
  const auto object = call[2].As<Napi::Object>();
  LocalizeOptions options{number(object, "sharpening"), number(object, "threshold"),
                          number(object, "alpha"),      object.Get("refine").As<Napi::String>().Utf8Value(),
                          boolean(object, "allMaps"),   {},
                          in_bfloat16(object),          {}};
  if (object.Has("objectness")) options.objectness = tensor_from_javascript(object.Get("objectness"));
  const auto sizes = object.Get("sizes").As<Napi::Array>();
  for (uint32_t i = 0; i < sizes.Length(); ++i) {
    const auto size = sizes.Get(i).As<Napi::Array>();
    options.sizes.emplace_back(size.Get(0u).As<Napi::Number>().Int64Value(),
                               size.Get(1u).As<Napi::Number>().Int64Value());
  }
  return Job<std::vector<Spot>>::compute(
      call.Env(), {object},
      [=] {
        const auto [images, spectrograms] = stack(batch);
        const std::shared_lock lock(handle->mutex);
        return localize_batch(*handle, images, spectrograms, options);
      },
      [](Napi::Env env, std::vector<Spot>& spots) {
        Napi::Array list = Napi::Array::New(env, spots.size());
        for (size_t i = 0; i < spots.size(); ++i) {
          list.Set(static_cast<uint32_t>(i), spot_to_javascript(env, spots[i]));
        }
        return list;
      });
}

struct SlotMaps {
  Tensor maps;  // [T, height, width]
  std::vector<std::vector<model::Region>> regions;
};

// slotMaps({ audio, image, alpha?, height, width, threshold? }) → Promise<{ maps: [T, height, width], boxes: box[][] }>
// of the attention [T, side, side] of target slots, a map each, blended by `alpha` where it is given; no boxes without
// a threshold
Napi::Value slot_maps(const Napi::CallbackInfo& call) {
  const auto options = call[0].As<Napi::Object>();
  const Tensor audio = tensor_from_javascript(options.Get("audio")),
               image = tensor_from_javascript(options.Get("image"));
  const std::optional<double> alpha = options.Has("alpha") ? std::optional(number(options, "alpha")) : std::nullopt;
  const int64_t height = integer(options, "height"), width = integer(options, "width");
  const std::optional<double> threshold =
      options.Has("threshold") ? std::optional(number(options, "threshold")) : std::nullopt;
  return Job<SlotMaps>::run(
      call.Env(), {options},
      [=] {
        const at::NoGradGuard no_grad;
        const int64_t targets = audio.size(0), side = audio.size(1);
        const auto of = [&](const Tensor& rows) {
          return model::heatmap(rows.reshape({targets, 1, side * side}), side, height, width);
        };
        SlotMaps result;
        result.maps = alpha ? model::refine(of(audio), of(image), *alpha) : of(audio);
        if (threshold) {
          for (const Tensor& map : result.maps.unbind()) result.regions.push_back(model::regions(map, *threshold));
        }
        return result;
      },
      [](Napi::Env env, SlotMaps& found) {
        Napi::Object result = Napi::Object::New(env);
        result.Set("maps", tensor_to_javascript(env, found.maps));
        Napi::Array boxes = Napi::Array::New(env, found.regions.size());
        for (size_t i = 0; i < found.regions.size(); ++i) {
          boxes.Set(static_cast<uint32_t>(i), boxes_to_javascript(env, found.regions[i]));
        }
        result.Set("boxes", boxes);
        return result;
      });
}

// objectness(handle, samples) → Promise<[B, h, w]>
Napi::Value objectness(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<ModelHandle>(call[0]);
  const auto batch = samples(call[1]);
  return Job<Tensor>::compute(
      call.Env(), {},
      [=] {
        const std::shared_lock lock(handle->mutex);
        Tensor maps = handle->localizer->objectness(stack(batch).first);
        check_finite(std::vector{maps});
        return maps;
      },
      [](Napi::Env env, Tensor& maps) { return tensor_to_javascript(env, maps); });
}

// falseNegatives(imageSlots [B, D], audioSlots [B, D], k) → Promise<[i, j][]>
Napi::Value false_negatives(const Napi::CallbackInfo& call) {
  const Tensor images = tensor_from_javascript(call[0]), sounds = tensor_from_javascript(call[1]);
  const int64_t k = call[2].As<Napi::Number>().Int64Value();
  return Job<Tensor>::compute(
      call.Env(), {call[0], call[1]},
      [=] {
        const Tensor image = losses::target_vectors(images.unsqueeze(1), 1),
                     sound = losses::target_vectors(sounds.unsqueeze(1), 1);
        return losses::false_negatives(losses::target_similarity(image, image, 1),
                                       losses::target_similarity(sound, sound, 1), k)
            .nonzero()
            .to(at::kFloat);
      },
      [](Napi::Env env, Tensor& pairs) { return tensor_to_javascript(env, pairs); });
}

// nearest(queries [N, D], gallery [M, D], depth) → Promise<[N, depth]>, indices, −1 where fewer were found
Napi::Value nearest(const Napi::CallbackInfo& call) {
  const Tensor queries = tensor_from_javascript(call[0]), gallery = tensor_from_javascript(call[1]);
  const int64_t depth = call[2].As<Napi::Number>().Int64Value();
  return Job<Tensor>::compute(
      call.Env(), {call[0], call[1]},
      // Every index of a gallery that memory can hold is exact in float32.
      [=] { return retrieval::nearest(queries, gallery, depth).to(at::kFloat); },
      [](Napi::Env env, Tensor& indices) { return tensor_to_javascript(env, indices); });
}

}  // namespace

void register_model(Napi::Env env, Napi::Object exports) {
  exports.Set("createModel", Napi::Function::New(env, create_model, "createModel"));
  exports.Set("release", Napi::Function::New(env, release, "release"));
  exports.Set("parameters", Napi::Function::New(env, parameters, "parameters"));
  exports.Set("setParameters", Napi::Function::New(env, set_parameters, "setParameters"));
  exports.Set("encode", Napi::Function::New(env, encode, "encode"));
  exports.Set("localize", Napi::Function::New(env, localize, "localize"));
  exports.Set("slotMaps", Napi::Function::New(env, slot_maps, "slotMaps"));
  exports.Set("objectness", Napi::Function::New(env, objectness, "objectness"));
  exports.Set("falseNegatives", Napi::Function::New(env, false_negatives, "falseNegatives"));
  exports.Set("nearest", Napi::Function::New(env, nearest, "nearest"));
}

}  // namespace soundspot::binding
