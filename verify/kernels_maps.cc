// Heatmaps with their masks, and the loss matching.
#include <cmath>

#include "verify/problem.h"
#include "verify/reference.h"

namespace soundspot::verify {
namespace {

constexpr double kThreshold = 0.6;
/// Of the threshold: rounding decides on which side of it a pixel is.
constexpr double kNear = 1e-4;

struct MapSizes {
  int64_t batch, targets, side, height, width;
};

enum class Rows { kDrawn, kConstant, kNotANumber };

Check heatmap(const std::string& name, const Subject& subject, const MapSizes& sizes, const kernels::MapResize& resize,
              bool ranged, Rows kind) {
  Tensor rows = at::rand({sizes.batch, sizes.targets, sizes.side * sizes.side}) * 3 - 1;
  if (kind == Rows::kConstant) rows.select(0, 0).fill_(0.123F);
  if (kind == Rows::kNotANumber) rows[0][-1][0] = NAN;
  std::optional<std::pair<double, double>> range;
  if (ranged) range = {-1.0, 2.0};
  Problem problem;
  problem.inputs = {{"rows", rows, at::kFloat, false}};
  problem.float32 = float32_tolerance();
  const Tensor exact = reference::heatmap(rows.to(at::kDouble), sizes.side, sizes.height, sizes.width, resize, range);
  const Kernels& kernels = subject.kernels;
  const auto own = [=, &kernels](const Tensor& maps) {
    return kernels.heatmap(maps, sizes.side, sizes.height, sizes.width, resize, range, std::optional(kThreshold));
  };
  if (kind == Rows::kNotANumber) {
    // Taps of weight 0 may spread it further than LibTorch's operators do; it must not be lost.
    problem.exact = [=](const std::vector<Tensor>&) -> std::vector<Output> {
      return {{"numbers where there are none", at::zeros_like(exact).to(at::kBool)}};
    };
    problem.own = [=](const std::vector<Tensor>& in) -> std::vector<Output> {
      const Tensor map = own(in[0]).map;
      return {{"numbers where there are none", exact.isnan().to(map.device()).logical_and(map.isnan().logical_not())}};
    };
    return verify(name, problem, subject.device);
  }
  const Tensor clear = (exact - kThreshold).abs() > kNear;
  problem.exact = [=](const std::vector<Tensor>&) -> std::vector<Output> {
    return {{"map", exact}, {"mask", clear.logical_and(exact >= kThreshold)}};
  };
  problem.own = [=](const std::vector<Tensor>& in) -> std::vector<Output> {
    const auto [map, mask] = own(in[0]);
    return {{"map", map}, {"mask", clear.to(mask.device()).logical_and(mask.to(at::kBool))}};
  };
  return verify(name, problem, subject.device);
}

Check matching(const std::string& name, const Subject& subject, int64_t batch, int64_t slots, int64_t tokens,
               int64_t others, int64_t targets) {
  Problem problem;
  const auto attention = [&](int64_t count) { return at::rand({batch, slots, count}); };
  // An attention of one's own queries gets no gradient.
  problem.inputs = {{"audio on image", attention(tokens)},
                    {"image on image", attention(tokens)},
                    {"image on audio", attention(others)},
                    {"audio on audio", attention(others)}};
  problem.float32 = float32_tolerance();
  problem.exact = [=](const std::vector<Tensor>& in) -> std::vector<Output> {
    return {{"loss", reference::matching(in[0], in[1], in[2], in[3], targets)}};
  };
  const Kernels& kernels = subject.kernels;
  problem.own = [=, &kernels](const std::vector<Tensor>& in) -> std::vector<Output> {
    return {{"loss", kernels.matching(in[0], in[1], in[2], in[3], targets)}};
  };
  return verify(name, problem, subject.device);
}

}  // namespace

void verify_maps(const Subject& subject, Report& report) {
  std::vector<MapSizes> all{{1, 1, 1, 5, 3}, {2, 1, 7, 31, 45}, {3, 2, 4, 64, 17}, {1, 8, 14, 100, 129}};
  if (!subject.small) {
    all.insert(all.end(), {{8, 1, 7, 224, 224}, {64, 1, 7, 224, 224}, {2, 2, 28, 1080, 1921}, {4, 3, 20, 333, 111}});
  }
  uint64_t seed = 2000;
  for (const MapSizes& sizes : all) {
    for (const bool bicubic : {true, false}) {
      for (const bool corners : {false, true}) {
        for (const bool ranged : {false, true}) {
          const std::string name = "heatmap [" + std::to_string(sizes.batch) + ", " + std::to_string(sizes.targets) +
                                   "] of side " + std::to_string(sizes.side) + " to " + std::to_string(sizes.height) +
                                   " x " + std::to_string(sizes.width) + (bicubic ? ", bicubic" : ", bilinear") +
                                   (corners ? "-corners" : "") + (ranged ? ", by a range" : "");
          attempt(report, name, ++seed, [&] {
            return heatmap(name, subject, sizes, {bicubic, corners}, ranged, Rows::kDrawn);
          });
        }
      }
    }
    const std::string name = "heatmap of side " + std::to_string(sizes.side);
    attempt(report, name + ", constant", ++seed, [&] {
      return heatmap(name + ", constant", subject, sizes, {true, false}, false, Rows::kConstant);
    });
    attempt(report, name + ", with a value that is not a number", ++seed, [&] {
      return heatmap(name + ", with a value that is not a number", subject, sizes, {true, false}, false,
                     Rows::kNotANumber);
    });
  }
  for (const int64_t batch : {1, 3, subject.small ? 9 : 256}) {
    for (const int64_t slots : {1, 2, 8}) {
      for (const int64_t tokens : {1, 49, 400}) {
        const std::string name = "matching, batch " + std::to_string(batch) + ", " + std::to_string(slots) +
                                 " slots, " + std::to_string(tokens) + " and 16 tokens";
        attempt(report, name, ++seed,
                [&] { return matching(name, subject, batch, slots, tokens, 16, (slots + 1) / 2); });
      }
    }
  }
}

}  // namespace soundspot::verify
