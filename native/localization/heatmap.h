// From attention over tokens to a map at the image's size, a mask and boxes (docs/method.md, "Inference and metrics").
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "core/torch.h"

namespace soundspot::localization {

/// Where tokens are: token t of a side at pixel stride · t of an image of `size` pixels a side, the centre of the
/// pixels that the encoder's convolutions see for it.
struct TokenPlaces {
  int64_t size, stride;
};

/// How a map is enlarged, as torch's `interpolate` defines it.
struct Resize {
  enum class Kernel { kBilinear, kBicubic };
  Kernel kernel = Kernel::kBicubic;  // bicubic is Keys' with a = −0.75
  /// `align_corners`: the centres of the corner tokens lie on those of the corner pixels. Otherwise the outer edges of
  /// tokens and pixels lie on each other (half-pixel centres).
  bool corners = false;
  /// Without it, token t is in the middle of the t-th of `side` equal parts of the image. Corners go before it.
  std::optional<TokenPlaces> places = std::nullopt;

  /// Pixel x of `pixels` is at token (x + ½) · span / pixels − offset.
  double span(int64_t side) const;
  double offset() const;
};

/// By its name: bicubic, bicubic-corners, bilinear, bilinear-corners.
/// @throws Error ERR_INPUT for another name.
Resize resize_named(const std::string& name, const std::optional<TokenPlaces>& places = std::nullopt);

/// Lowest and highest raw value that a map can have.
using Range = std::pair<double, double>;

/// Target rows [B, T, N] over side × side tokens → enlarged, scaled, maximum over target slots: [B, height, width].
/// Without a range each map is scaled to its own minimum and maximum, [0, 1], and one that is constant but for rounding
/// stays as it is. With a range the lowest value becomes 0 and the highest 1, and bicubic enlargement may go beyond.
Tensor heatmap(const Tensor& target_rows, int64_t side, int64_t height, int64_t width, const Resize& resize = {},
               const std::optional<Range>& range = std::nullopt);

/// IQR refinement of normalised maps [B, h, w]: minmax(α·audio + (1−α)·image).
Tensor refine(const Tensor& audio, const Tensor& image, double alpha);

/// How raw maps of one sample are made comparable with its ground truth.
struct RenderOptions {
  int64_t height, width;
  Resize resize, objectness_resize;
  double alpha;                // α, the audio map's weight in a refinement
  std::optional<Range> range;  // of the audio map
  std::optional<Range>
      objectness_range;  // where it is given, refinements are not scaled to their own minimum and maximum
};

/// Each [height, width]; undefined where a part of it is not there.
struct Rendered {
  Tensor audio, image, iqr, ogl, combined;
};

/// Raw target maps [T, side, side] of audio and image and raw objectness [side, side] → all maps that can be made.
/// `image` and `objectness` may be undefined.
Rendered render(const Tensor& audio, const Tensor& image, const Tensor& objectness, const RenderOptions& options);

/// A connected region of a mask in pixels, with the mean of the map inside it.
struct Region {
  int64_t x, y, width, height, area;
  double score;
};

/// Regions of 8-connected pixels at or above `threshold`, greatest area first. map [height, width], contiguous float32.
std::vector<Region> regions(const Tensor& map, double threshold);

}  // namespace soundspot::localization
