// Batch norm + residual + ReLU, forward and backward.
#include "verify/problem.h"
#include "verify/reference.h"

namespace soundspot::verify {
namespace {

struct Sizes {
  int64_t batch, channels, height, width;
  double spread = 1;  // standard deviation of a channel; where it is small, epsilon counts
};

/// So far from ReLU's edge that rounding does not decide on which side a value is: that of values around 30 away from
/// 0, and of their bfloat16.
constexpr double kEdge = 1e-3;

Problem problem_of(const Sizes& sizes, at::ScalarType type, bool residual, bool relu, bool fixed) {
  const auto [batch, channels, height, width, spread] = sizes;
  const auto last = [](const Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); };
  // Means far from 0: what cancels in a sum of squares.
  const Tensor x = last(spread * (at::randn({batch, channels, height, width}) + 30 * at::randn({1, channels, 1, 1})));
  Problem problem;
  problem.inputs = {{"x", x, type},
                    {"weight", at::randn({channels})},
                    {"bias", at::randn({channels})},
                    {"running mean", at::randn({channels}), at::kFloat, false},
                    {"running variance", at::rand({channels}) + 0.5, at::kFloat, false}};
  if (residual) problem.inputs.emplace_back("residual", last(at::randn_like(x)), type);
  problem.float32 = float32_tolerance();
  problem.bfloat16 = bfloat16_tolerance();
  problem.exact = [=](const std::vector<Tensor>& in) -> std::vector<Output> {
    const Tensor sum =
        reference::batch_norm(in[0], in[1], in[2], in[3], in[4], residual ? in[5] : Tensor(), /*relu=*/false, fixed);
    Output y{"y", relu ? sum.relu() : sum};
    if (relu) y.counted = sum.detach().abs() > kEdge;
    return {y, {"running mean", in[3]}, {"running variance", in[4]}};
  };
  return problem;
}

}  // namespace

void verify_batch_norm(const Subject& subject, Report& report) {
  std::vector<Sizes> all{{1, 1, 3, 5}, {4, 3, 1, 2}, {3, 7, 9, 5}, {2, 64, 8, 8}, {5, 136, 6, 7}, {4, 24, 9, 5, 0.01}};
  if (!subject.small) {
    // Of ResNet-18 at 224 pixels, and a spectrogram's.
    all.insert(all.end(), {{8, 64, 112, 112},
                           {8, 64, 56, 56},
                           {16, 128, 28, 28},
                           {32, 256, 14, 14},
                           {64, 512, 7, 7},
                           {8, 64, 129, 251},
                           {1, 512, 9, 16}});
  }
  uint64_t seed = 0;
  for (const Sizes& sizes : all) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      for (int kind = 0; kind < 8; ++kind) {
        const bool residual = (kind & 1) != 0, relu = (kind & 2) != 0, fixed = (kind & 4) != 0;
        // Large sizes as the encoders have them.
        if (sizes.batch * sizes.channels * sizes.height * sizes.width > 1'000'000 && !relu) continue;
        std::string name = "batch norm [" + std::to_string(sizes.batch) + ", " + std::to_string(sizes.channels) + ", " +
                           std::to_string(sizes.height) + ", " + std::to_string(sizes.width) + "] " +
                           (type == at::kFloat ? "float32" : "bfloat16");
        if (sizes.spread != 1) name += " of small variance";
        if (residual) name += " + residual";
        if (relu) name += " + ReLU";
        if (fixed) name += ", fixed statistics";
        attempt(report, name, ++seed, [&] {
          Problem problem = problem_of(sizes, type, residual, relu, fixed);
          const Kernels& kernels = subject.kernels;
          problem.own = [=, &kernels](const std::vector<Tensor>& in) -> std::vector<Output> {
            const Tensor y =
                kernels.batch_norm(in[0], {in[1], in[2], in[3], in[4], reference::kMomentum, reference::kEpsilon, {}},
                                   residual ? in[5] : Tensor(), relu, fixed);
            return {{"y", y}, {"running mean", in[3]}, {"running variance", in[4]}};
          };
          return verify(name, problem, subject.device);
        });
      }
    }
  }
}

}  // namespace soundspot::verify
