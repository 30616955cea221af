#include "methods/transform.h"

#include <numbers>

namespace soundspot::methods {

namespace {

Tensor resized(const Tensor& input, int64_t side) {
  if (input.size(2) == side && input.size(3) == side) return input;
  return at::upsample_bilinear2d(input, {side, side}, /*align_corners=*/false);
}

/// Where each pixel of the result comes from, in [−1, 1] between the outer pixels' centres: [B, side, side, 2].
Tensor sources(const Transform& transform, int64_t side) {
  const Tensor radians = transform.angles * (std::numbers::pi / 180);
  const Tensor cosine = (at::cos(radians) / transform.scale).view({-1, 1, 1}),
               sine = (at::sin(radians) / transform.scale).view({-1, 1, 1});
  const double centre = static_cast<double>(side) / 2, half = static_cast<double>(side - 1) / 2;
  const Tensor offset = at::arange(side, transform.angles.options()) - centre;
  const Tensor x = offset.view({1, 1, side}), y = offset.view({1, side, 1});
  // The inverse of [s·cos, s·sin; −s·sin, s·cos], the rotation in coordinates whose y points down.
  const Tensor from_x = cosine * x - sine * y + centre, from_y = sine * x + cosine * y + centre;
  return at::stack({from_x, from_y}, 3) / half - 1;
}

}  // namespace

Tensor transformed(const Tensor& input, const Transform& transform, int64_t frame, int64_t side) {
  constexpr int64_t kBilinear = 0, kZeros = 0;
  const Tensor whole = resized(input, frame).contiguous();
  const Tensor moved = at::grid_sampler(whole, sources(transform, frame).to(whole.scalar_type()), kBilinear, kZeros,
                                        /*align_corners=*/true);
  const Tensor small = resized(moved, side);
  return transform.flip ? small.flip({3}) : small;
}

}  // namespace soundspot::methods
