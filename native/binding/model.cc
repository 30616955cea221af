// Models: creation, parameters, encoding, localization.
#include "binding/convert.h"
#include "binding/functions.h"
#include "core/device.h"
#include "core/precision.h"
#include "core/transfer.h"
#include "localization/localize.h"
#include "losses/false_negatives.h"
#include "retrieval/nearest.h"

namespace soundspot::binding {

namespace {

// createModel(config, seed, device) → Promise<handle>
Napi::Value create_model(const Napi::CallbackInfo& call) {
  const encoders::ModelConfig config = model_config(call[0].As<Napi::Object>());
  const auto seed = static_cast<uint64_t>(call[1].As<Napi::Number>().Int64Value());
  const std::string device = call[2].As<Napi::String>().Utf8Value();
  return Job<std::shared_ptr<ModelHandle>>::run(
      call.Env(), {},
      [=] {
        return std::make_shared<ModelHandle>(
            std::make_shared<methods::Localizer>(config, seed, core::find_device(device)));
      },
      [](Napi::Env env, std::shared_ptr<ModelHandle>& handle) { return wrap(env, handle); });
}

// deviceOf(handle) → "cpu", "cuda:0"
Napi::Value device_of(const Napi::CallbackInfo& call) {
  return Napi::String::New(call.Env(), unwrap<ModelHandle>(call[0])->localizer->device().str());
}

// release(handle): what no running job holds is freed at once
Napi::Value release_model(const Napi::CallbackInfo& call) { return release<ModelHandle>(call); }

// parameters(handle) → Promise<{ name, shape, data, trainable }[]>, copies
Napi::Value parameters(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<ModelHandle>(call[0]);
  return Job<std::vector<core::Parameter>>::run(
      call.Env(), {},
      [handle] {
        const std::shared_lock lock(handle->mutex);
        const at::NoGradGuard no_grad;
        const core::Parameters whole = handle->localizer->whole_parameters();
        std::vector<core::Parameter> copies;
        for (const core::Parameter& parameter : whole.all()) {
          const Tensor copy = parameter.value.detach().to(at::kCPU, at::kFloat).clone(at::MemoryFormat::Contiguous);
          copies.push_back({parameter.name, copy, parameter.trainable});
        }
        return copies;
      },
      [](Napi::Env env, std::vector<core::Parameter>& copies) {
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
  core::NamedTensors tensors;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const auto item = list.Get(i).As<Napi::Object>();
    tensors.emplace_back(item.Get("name").As<Napi::String>().Utf8Value(), tensor_from_javascript(item));
  }
  return Job<bool>::run(
      call.Env(), {call[1]},
      [handle, tensors] {
        const std::unique_lock lock(handle->mutex);
        core::Parameters& target = handle->localizer->parameters();
        target.check(tensors);
        if (const std::string* name = core::first_not_finite(tensors)) {
          throw Error("ERR_INPUT", *name + " has values that are not finite. Look where they come from.");
        }
        handle->change_weights();
        for (const auto& [name, tensor] : tensors) target.assign(name, tensor);
        return true;
      },
      [](Napi::Env env, bool&) { return env.Undefined(); });
}

void set_attention(Napi::Env env, Napi::Object& result, const slot_attention::JointAttention& attention) {
  result.Set("imageSlots", tensor_to_javascript(env, attention.image_slots));
  result.Set("audioSlots", tensor_to_javascript(env, attention.audio_slots));
  result.Set("imageQueries", tensor_to_javascript(env, attention.image_queries));
  result.Set("audioQueries", tensor_to_javascript(env, attention.audio_queries));
  result.Set("imageOnImage", tensor_to_javascript(env, attention.image_on_image));
  result.Set("audioOnImage", tensor_to_javascript(env, attention.audio_on_image));
  result.Set("audioOnAudio", tensor_to_javascript(env, attention.audio_on_audio));
  result.Set("imageOnAudio", tensor_to_javascript(env, attention.image_on_audio));
}

// encode(handle, samples, { sharpening, precision, plain }) → Promise<outputs>, batch first; `plain` takes the
// reference that the engine is compared with
Napi::Value encode(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<ModelHandle>(call[0]);
  const auto batch = samples(call[1]);
  const auto options = call[2].As<Napi::Object>();
  const methods::RespondOptions respond{.sharpening = number(options, "sharpening")};
  const core::Precision wanted = precision(options, handle->localizer->device());
  const bool plain = boolean(options, "plain");
  return Job<inference::Inference>::compute(
      call.Env(), {},
      [=] {
        const auto [images, spectrograms] = stack(batch, handle->localizer->device());
        const std::shared_lock lock(handle->mutex);
        const auto engine = plain ? handle->reference(wanted) : handle->engine(wanted);
        inference::Inference result = engine->infer(images, spectrograms, respond);
        result.response = localization::on_cpu(std::move(result.response));
        localization::check_finite(result.response);
        const std::vector<Tensor> tokens = core::to_host({result.tokens.image, result.tokens.audio});
        result.tokens = {tokens[0], tokens[1]};
        return result;
      },
      [](Napi::Env env, inference::Inference& inference) {
        Napi::Object result = Napi::Object::New(env);
        result.Set("imageFeatures", tensor_to_javascript(env, inference.tokens.image));
        result.Set("audioFeatures", tensor_to_javascript(env, inference.tokens.audio));
        result.Set("imageEmbedding", tensor_to_javascript(env, inference.response.image_embedding));
        result.Set("audioEmbedding", tensor_to_javascript(env, inference.response.audio_embedding));
        if (inference.response.joint) set_attention(env, result, *inference.response.joint);
        return result;
      });
}

// embed(handle, samples, { modality: "image" | "audio", precision }) → Promise<[B, T·D]> of one side of each sample
Napi::Value embed(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<ModelHandle>(call[0]);
  const auto batch = samples(call[1]);
  const auto options = call[2].As<Napi::Object>();
  const auto modality = text(options, "modality") == "image" ? encoders::Modality::kImage : encoders::Modality::kAudio;
  const core::Precision wanted = precision(options, handle->localizer->device());
  return Job<Tensor>::compute(
      call.Env(), {},
      [=] {
        std::vector<Tensor> inputs;
        for (const auto& sample : batch) {
          inputs.push_back(modality == encoders::Modality::kImage ? sample->finished_image() : sample->spectrogram);
        }
        const std::shared_lock lock(handle->mutex);
        const Tensor vectors =
            handle->engine(wanted)->embed(modality, core::stacked(inputs, handle->localizer->device())).to(at::kCPU);
        localization::check_finite(std::vector{vectors});
        return vectors;
      },
      [](Napi::Env env, Tensor& vectors) { return tensor_to_javascript(env, vectors); });
}

Napi::Array boxes_to_javascript(Napi::Env env, const std::vector<localization::Region>& regions) {
  Napi::Array boxes = Napi::Array::New(env, regions.size());
  for (size_t i = 0; i < regions.size(); ++i) {
    const localization::Region& region = regions[i];
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

Napi::Value spot_to_javascript(Napi::Env env, const localization::Spot& spot) {
  Napi::Object result = Napi::Object::New(env);
  const Napi::Value audio_map = tensor_to_javascript(env, spot.audio_map);
  result.Set("audioMap", audio_map);
  // Not refined, they are one: the collector counts its memory once.
  result.Set("heatmap", spot.heatmap.is_same(spot.audio_map) ? audio_map : tensor_to_javascript(env, spot.heatmap));
  const auto set = [&](const char* name, const Tensor& map) {
    if (map.defined()) result.Set(name, tensor_to_javascript(env, map));
  };
  set("imageMap", spot.image_map);
  set("iqrMap", spot.iqr_map);
  set("oglMap", spot.ogl_map);
  set("combinedMap", spot.combined_map);
  result.Set("mask", bytes_to_javascript(env, spot.mask));
  result.Set("boxes", boxes_to_javascript(env, spot.regions));
  result.Set("confidence", spot.confidence);
  set("audioTargets", spot.audio_targets);
  set("imageTargets", spot.image_targets);
  if (spot.range) {
    Napi::Array range = Napi::Array::New(env, 2);
    range.Set(0u, spot.range->first);
    range.Set(1u, spot.range->second);
    result.Set("range", range);
  }
  set("imageEmbedding", spot.image_embedding);
  set("audioEmbedding", spot.audio_embedding);
  if (!spot.joint) return result;
  set_attention(env, result, *spot.joint);
  if (const slot_attention::AttentionLogits& own = spot.joint->logits; own.image_on_image.defined()) {
    Napi::Object logits = Napi::Object::New(env);
    logits.Set("imageOnImage", tensor_to_javascript(env, own.image_on_image));
    logits.Set("audioOnImage", tensor_to_javascript(env, own.audio_on_image));
    logits.Set("audioOnAudio", tensor_to_javascript(env, own.audio_on_audio));
    logits.Set("imageOnAudio", tensor_to_javascript(env, own.image_on_audio));
    result.Set("logits", logits);
  }
  return result;
}

/// { size, stride }, or none.
std::optional<localization::TokenPlaces> places_from_javascript(const Napi::Object& options) {
  if (!options.Has("places")) return std::nullopt;
  const auto places = options.Get("places").As<Napi::Object>();
  return localization::TokenPlaces{integer(places, "size"), integer(places, "stride")};
}

// localize(handle, samples, { sharpening, threshold, alpha, refine, allMaps, objectness?, precision,
//   sizes: [height, width][], places? }) → Promise<spot[]>
Napi::Value localize(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<ModelHandle>(call[0]);
  const auto batch = samples(call[1]);
  const auto object = call[2].As<Napi::Object>();
  localization::LocalizeOptions options{.respond = {.sharpening = number(object, "sharpening")},
                                        .threshold = number(object, "threshold"),
                                        .alpha = number(object, "alpha"),
                                        .refine = text(object, "refine"),
                                        .all_maps = boolean(object, "allMaps"),
                                        .objectness = {},
                                        .sizes = {},
                                        .places = places_from_javascript(object)};
  const core::Precision wanted = precision(object, handle->localizer->device());
  if (object.Has("objectness")) options.objectness = tensor_from_javascript(object.Get("objectness"));
  const auto sizes = object.Get("sizes").As<Napi::Array>();
  for (uint32_t i = 0; i < sizes.Length(); ++i) {
    const auto size = sizes.Get(i).As<Napi::Array>();
    options.sizes.emplace_back(size.Get(0u).As<Napi::Number>().Int64Value(),
                               size.Get(1u).As<Napi::Number>().Int64Value());
  }
  return Job<std::vector<localization::Spot>>::compute(
      call.Env(), {object},
      [=] {
        const auto [images, spectrograms] = stack(batch, handle->localizer->device());
        const std::shared_lock lock(handle->mutex);
        const methods::Localizer& localizer = *handle->localizer;
        return localization::localize(*handle->engine(wanted), localizer.config().image_tokens_per_side(),
                                      localizer.method().targets(), images, spectrograms, options);
      },
      [](Napi::Env env, std::vector<localization::Spot>& spots) {
        Napi::Array list = Napi::Array::New(env, spots.size());
        for (size_t i = 0; i < spots.size(); ++i) {
          list.Set(static_cast<uint32_t>(i), spot_to_javascript(env, spots[i]));
        }
        return list;
      });
}

// slotMaps({ audio, image?, alpha?, height, width, threshold?, places? }) → Promise<{ maps: [T, height, width], boxes
// }> of the attention [T, side, side] of target slots, a map each, blended by `alpha` where it is given, and a list of
// boxes for each; none without a threshold
Napi::Value slot_maps(const Napi::CallbackInfo& call) {
  const auto options = call[0].As<Napi::Object>();
  const Tensor audio = tensor_from_javascript(options.Get("audio")),
               image = options.Has("image") ? tensor_from_javascript(options.Get("image")) : Tensor();
  const std::optional<double> alpha = options.Has("alpha") ? std::optional(number(options, "alpha")) : std::nullopt;
  const int64_t height = integer(options, "height"), width = integer(options, "width");
  const std::optional<double> threshold =
      options.Has("threshold") ? std::optional(number(options, "threshold")) : std::nullopt;
  return Job<localization::SlotMaps>::run(
      call.Env(), {options},
      [=, places = places_from_javascript(options)] {
        return localization::slot_maps(audio, image, alpha, height, width, threshold, places);
      },
      [](Napi::Env env, localization::SlotMaps& found) {
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

std::optional<localization::Range> range_from_javascript(const Napi::Object& options, const char* name) {
  if (!options.Has(name)) return std::nullopt;
  const auto ends = options.Get(name).As<Napi::Array>();
  return localization::Range(ends.Get(0u).As<Napi::Number>().DoubleValue(),
                             ends.Get(1u).As<Napi::Number>().DoubleValue());
}

// renderMaps({ audio: [T, side, side], image?, objectness?: [side, side], height, width, resize, objectnessResize,
//   alpha, range?, objectnessRange?, places? }) → Promise<{ audio, image?, iqr?, ogl?, combined? }>, each [height,
//   width]
Napi::Value render_maps(const Napi::CallbackInfo& call) {
  const auto object = call[0].As<Napi::Object>();
  const auto optional = [&](const char* name) {
    return object.Has(name) ? tensor_from_javascript(object.Get(name)) : Tensor();
  };
  const Tensor audio = tensor_from_javascript(object.Get("audio")), image = optional("image"),
               objects = optional("objectness");
  const std::string resize = text(object, "resize"), objectness_resize = text(object, "objectnessResize");
  const auto places = places_from_javascript(object);
  const int64_t height = integer(object, "height"), width = integer(object, "width");
  const double alpha = number(object, "alpha");
  const auto range = range_from_javascript(object, "range"),
             objectness_range = range_from_javascript(object, "objectnessRange");
  return Job<localization::Rendered>::run(
      call.Env(), {object},
      [=] {
        return localization::render(audio, image, objects,
                                    {.height = height,
                                     .width = width,
                                     .resize = localization::resize_named(resize, places),
                                     .objectness_resize = localization::resize_named(objectness_resize),
                                     .alpha = alpha,
                                     .range = range,
                                     .objectness_range = objectness_range});
      },
      [](Napi::Env env, localization::Rendered& maps) {
        Napi::Object result = Napi::Object::New(env);
        const auto set = [&](const char* name, const Tensor& map) {
          if (map.defined()) result.Set(name, tensor_to_javascript(env, map));
        };
        set("audio", maps.audio);
        set("image", maps.image);
        set("iqr", maps.iqr);
        set("ogl", maps.ogl);
        set("combined", maps.combined);
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
        const at::Device device = handle->localizer->device();
        const core::DeviceProducts products({.device = device});
        const Tensor images = core::to_device(stack(batch, device).first, device);
        Tensor maps = handle->localizer->objectness(images).to(at::kCPU);
        localization::check_finite(std::vector{maps});
        return maps;
      },
      [](Napi::Env env, Tensor& maps) { return tensor_to_javascript(env, maps); });
}

// methods() → the names of all methods
Napi::Value method_names(const Napi::CallbackInfo& call) {
  Napi::Array names = Napi::Array::New(call.Env());
  for (const auto& [name, factory] : methods::registry()) names.Set(names.Length(), name);
  return names;
}

// falseNegatives(imageSlots [B, D], audioSlots [B, D], k) → Promise<[i, j][]>
Napi::Value false_negatives(const Napi::CallbackInfo& call) {
  const Tensor images = tensor_from_javascript(call[0]), clips = tensor_from_javascript(call[1]);
  const int64_t k = call[2].As<Napi::Number>().Int64Value();
  return Job<Tensor>::compute(
      call.Env(), {call[0], call[1]},
      [=] {
        const Tensor image = losses::target_vectors(images.unsqueeze(1), 1),
                     audio = losses::target_vectors(clips.unsqueeze(1), 1);
        return losses::false_negatives(losses::target_similarity(image, image, 1),
                                       losses::target_similarity(audio, audio, 1), k)
            .nonzero()
            .to(at::kFloat);
      },
      [](Napi::Env env, Tensor& pairs) { return tensor_to_javascript(env, pairs); });
}

// nearest(queries [N, D], gallery [M, D], depth, device) → Promise<[N, depth]>, indices, −1 where fewer were found
Napi::Value nearest(const Napi::CallbackInfo& call) {
  const Tensor queries = tensor_from_javascript(call[0]), gallery = tensor_from_javascript(call[1]);
  const int64_t depth = call[2].As<Napi::Number>().Int64Value();
  const auto name = call[3].As<Napi::String>().Utf8Value();
  return Job<Tensor>::compute(
      call.Env(), {call[0], call[1]},
      // Every index of a gallery that memory can hold is exact in float32.
      [=] {
        const at::Device device = core::find_device(name);
        const Tensor found =
            retrieval::nearest(core::to_device(queries, device), core::to_device(gallery, device), depth);
        return found.to(at::kFloat).to(at::kCPU);
      },
      [](Napi::Env env, Tensor& indices) { return tensor_to_javascript(env, indices); });
}

}  // namespace

void register_model(Napi::Env env, Napi::Object exports) {
  exports.Set("createModel", Napi::Function::New(env, create_model, "createModel"));
  exports.Set("deviceOf", Napi::Function::New(env, device_of, "deviceOf"));
  exports.Set("release", Napi::Function::New(env, release_model, "release"));
  exports.Set("parameters", Napi::Function::New(env, parameters, "parameters"));
  exports.Set("setParameters", Napi::Function::New(env, set_parameters, "setParameters"));
  exports.Set("encode", Napi::Function::New(env, encode, "encode"));
  exports.Set("embed", Napi::Function::New(env, embed, "embed"));
  exports.Set("methods", Napi::Function::New(env, method_names, "methods"));
  exports.Set("localize", Napi::Function::New(env, localize, "localize"));
  exports.Set("renderMaps", Napi::Function::New(env, render_maps, "renderMaps"));
  exports.Set("slotMaps", Napi::Function::New(env, slot_maps, "slotMaps"));
  exports.Set("objectness", Napi::Function::New(env, objectness, "objectness"));
  exports.Set("falseNegatives", Napi::Function::New(env, false_negatives, "falseNegatives"));
  exports.Set("nearest", Napi::Function::New(env, nearest, "nearest"));
}

}  // namespace soundspot::binding
