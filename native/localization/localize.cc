#include "localization/localize.h"

#include "core/error.h"
#include "core/parts.h"
#include "core/transfer.h"
#include "kernels/device.h"

namespace soundspot::localization {

namespace {

using slot_attention::JointAttention;

/// Of sample `index` of the batch.
JointAttention select(const JointAttention& batch, int64_t index) {
  const auto of = [&](const Tensor& tensor) { return tensor.defined() ? tensor[index] : tensor; };
  JointAttention one;
  one.image_slots = of(batch.image_slots);
  one.audio_slots = of(batch.audio_slots);
  one.image_queries = of(batch.image_queries);
  one.audio_queries = of(batch.audio_queries);
  one.image_on_image = of(batch.image_on_image);
  one.audio_on_image = of(batch.audio_on_image);
  one.audio_on_audio = of(batch.audio_on_audio);
  one.image_on_audio = of(batch.image_on_audio);
  const auto& [image_on_image, audio_on_image, audio_on_audio, image_on_audio] = batch.logits;
  one.logits = {of(image_on_image), of(audio_on_image), of(audio_on_audio), of(image_on_audio)};
  return one;
}

/// Target rows of one sample, audio's and where there are any the image's own: [1 or 2, T, N].
Tensor rows_of(const methods::Response& response, int64_t sample) {
  const Tensor audio = response.audio_maps[sample];
  return response.image_maps ? at::stack({audio, (*response.image_maps)[sample]}) : audio.unsqueeze(0);
}

/// The heatmaps of all samples, [1 or 2, h, w] each, where a device has a kernel for them; else none.
std::vector<Tensor> heatmaps_on_device(const methods::Response& response, int64_t side,
                                       const LocalizeOptions& options) {
  std::vector<Tensor> maps;
  if (kernels::kernels_of(response.audio_maps.device()) == nullptr) return maps;
  for (size_t i = 0; i < options.sizes.size(); ++i) {
    const auto [height, width] = options.sizes[i];
    maps.push_back(localization::heatmap(rows_of(response, static_cast<int64_t>(i)), side, height, width,
                                         {.places = options.places}));
  }
  return maps;
}

/// A response and maps that were made of it, in one transfer for each type.
void bring_to_cpu(methods::Response& response, std::vector<Tensor>& maps) {
  std::vector<Tensor*> own = methods::tensors_of(response);
  for (Tensor& map : maps) own.push_back(&map);
  std::vector<Tensor> values;
  for (const Tensor* tensor : own) values.push_back(*tensor);
  values = core::to_host(values);
  for (size_t i = 0; i < own.size(); ++i) *own[i] = values[i];
}

}  // namespace

methods::Response on_cpu(methods::Response response) {
  std::vector<Tensor> no_maps;
  bring_to_cpu(response, no_maps);
  return response;
}

void check_finite(const std::vector<Tensor>& results) {
  for (const Tensor& values : results) {
    if (!core::first_not_finite({{"", values}})) continue;
    throw Error("ERR_INTERNAL",
                "The model gives values that are not finite: its weights are too large to compute with. Take an "
                "earlier checkpoint of its training.");
  }
}

void check_finite(const methods::Response& response) {
  check_finite(std::vector{response.audio_maps, response.image_embedding, response.audio_embedding});
  if (response.image_maps) check_finite(std::vector{*response.image_maps});
  if (!response.joint) return;
  const JointAttention& own = *response.joint;
  check_finite(std::vector{own.image_slots, own.audio_slots, own.image_on_image, own.audio_on_image, own.audio_on_audio,
                           own.image_on_audio});
}

std::vector<Spot> localize(const inference::Engine& engine, int64_t side, int64_t targets, const Tensor& images,
                           const Tensor& spectrograms, const LocalizeOptions& options) {
  const at::NoGradGuard no_grad;
  methods::Response response = engine.infer(images, spectrograms, options.respond).response;
  std::vector<Tensor> heatmaps = heatmaps_on_device(response, side, options);
  bring_to_cpu(response, heatmaps);
  check_finite(response);
  const bool needs_image = options.refine == "iqr" || options.refine == "combined";
  if (needs_image && !response.image_maps) {
    throw Error("ERR_INPUT", "The method has no map of the image's own, which the refinement \"" + options.refine +
                                 "\" blends with. Use none or ogl.");
  }
  const Tensor confidence = (response.image_embedding * response.audio_embedding).sum(1) / static_cast<double>(targets);
  std::vector<Spot> spots(static_cast<size_t>(images.size(0)));
  const auto fill = [&](int64_t i) {
    const at::NoGradGuard on_this_thread;
    const auto [height, width] = options.sizes[static_cast<size_t>(i)];
    Spot& spot = spots[static_cast<size_t>(i)];
    if (response.joint) spot.joint = select(*response.joint, i);
    const bool has_image = response.image_maps.has_value();
    const Tensor maps =
        heatmaps.empty() ? localization::heatmap(rows_of(response, i), side, height, width, {.places = options.places})
                         : heatmaps[static_cast<size_t>(i)];
    const Tensor audio = maps.narrow(0, 0, 1), image = has_image ? maps.narrow(0, 1, 1) : Tensor();
    spot.audio_map = audio[0];
    if (has_image) spot.image_map = image[0];
    const auto wanted = [&](const char* name) { return options.all_maps || options.refine == name; };
    if (has_image && wanted("iqr")) spot.iqr_map = localization::refine(audio, image, options.alpha)[0];
    if (options.objectness.defined()) {
      const Tensor grid = options.objectness[i];
      const Tensor objects = localization::heatmap(grid.reshape({1, 1, -1}), grid.size(0), height, width);
      if (wanted("ogl")) spot.ogl_map = localization::refine(audio, objects, options.alpha)[0];
      if (has_image && wanted("combined")) {
        spot.combined_map = localization::refine(audio, (image + objects) / 2, options.alpha)[0];
      }
    }
    spot.heatmap = options.refine == "iqr"        ? spot.iqr_map
                   : options.refine == "ogl"      ? spot.ogl_map
                   : options.refine == "combined" ? spot.combined_map
                                                  : spot.audio_map;
    spot.heatmap = spot.heatmap.contiguous();
    spot.mask = (spot.heatmap >= options.threshold).to(at::kByte).contiguous();
    spot.regions = localization::regions(spot.heatmap, options.threshold);
    spot.confidence = confidence[i].item<double>();
    spot.audio_targets = response.audio_maps[i];
    spot.range = response.range;
    if (has_image) spot.image_targets = (*response.image_maps)[i];
    spot.image_embedding = response.image_embedding[i];
    spot.audio_embedding = response.audio_embedding[i];
  };
  core::in_parts(images.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) fill(i);
  });
  return spots;
}

SlotMaps slot_maps(const Tensor& audio, const Tensor& image, std::optional<double> alpha, int64_t height, int64_t width,
                   std::optional<double> threshold, const std::optional<TokenPlaces>& places) {
  const at::NoGradGuard no_grad;
  const int64_t targets = audio.size(0), side = audio.size(1);
  const auto of = [&](const Tensor& rows) {
    return localization::heatmap(rows.reshape({targets, 1, side * side}), side, height, width, {.places = places});
  };
  SlotMaps result;
  result.maps = alpha && image.defined() ? localization::refine(of(audio), of(image), *alpha) : of(audio);
  if (threshold) {
    for (const Tensor& map : result.maps.unbind()) result.regions.push_back(localization::regions(map, *threshold));
  }
  return result;
}

}  // namespace soundspot::localization
