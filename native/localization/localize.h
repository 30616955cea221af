// From a method's response to a batch to maps, masks, boxes and confidences. It knows no method.
#pragma once

#include "inference/engine.h"
#include "localization/heatmap.h"

namespace soundspot::localization {

/// Height and width of maps.
using Sizes = std::vector<std::pair<int64_t, int64_t>>;

struct LocalizeOptions {
  methods::RespondOptions respond;
  double threshold;                   // the mask is where the heatmap reaches it
  double alpha;                       // α, the audio map's weight in a refinement
  std::string refine;                 // none, iqr, ogl or combined
  bool all_maps = false;              // give every map that can be made
  Tensor objectness;                  // [B, side, side]; undefined without
  Sizes sizes;                        // of each sample's maps
  std::optional<TokenPlaces> places;  // of the tokens, unless they are equal parts of the image
};

struct Spot {
  Tensor heatmap, audio_map;  // [height, width], on the CPU
  Tensor image_map, iqr_map;  // undefined where the method has no map of the image's own, or where not asked for
  Tensor ogl_map, combined_map;
  Tensor mask;  // uint8
  std::vector<localization::Region> regions;
  double confidence = 0;                    // mean cosine of the two embeddings' targets
  Tensor audio_targets, image_targets;      // [T, h·w], raw; the image's undefined where the method has none
  std::optional<Range> range;               // of audio_targets, where they have a fixed one
  Tensor image_embedding, audio_embedding;  // [T·D]
  std::optional<slot_attention::JointAttention> joint;  // of this sample, [S, …]
};

/// @throws Error ERR_INTERNAL when a result is not finite; ERR_INPUT when the refinement needs a map that the method
/// does not have.
std::vector<Spot> localize(const inference::Engine& engine, int64_t side, int64_t targets, const Tensor& images,
                           const Tensor& spectrograms, const LocalizeOptions& options);

/// The response on the CPU, where maps are made, by one transfer.
methods::Response on_cpu(methods::Response response);

/// Weights may be finite and yet too large to compute with.
/// @throws Error ERR_INTERNAL when one of the results is not finite.
void check_finite(const methods::Response& response);
void check_finite(const std::vector<Tensor>& results);

struct SlotMaps {
  Tensor maps;  // [T, height, width]
  std::vector<std::vector<localization::Region>> regions;
};

/// A map for each target [T, side, side] of `audio`, blended with that of `image` by `alpha` where both are given, and
/// its regions where there is a threshold.
SlotMaps slot_maps(const Tensor& audio, const Tensor& image, std::optional<double> alpha, int64_t height, int64_t width,
                   std::optional<double> threshold, const std::optional<TokenPlaces>& places = std::nullopt);

}  // namespace soundspot::localization
