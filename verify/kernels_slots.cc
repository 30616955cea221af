// Slot attention, and the attention of one modality's queries on the other's tokens, forward and backward.
#include <cmath>

#include "verify/problem.h"
#include "verify/reference.h"

namespace soundspot::verify {
namespace {

struct Sizes {
  int64_t batch, slots, tokens, dim, hidden, iterations;
};

/// Within rounding of ReLU's edge in the MLP either gradient is right.
constexpr double kEdge = 1e-5;
/// Seeds that are looked at for one whose values keep away from it.
constexpr int kSeeds = 6;
/// Units of the MLP beyond which none would; biases then keep them away.
constexpr int64_t kMany = 2000;

std::string text(const Sizes& sizes) {
  return "batch " + std::to_string(sizes.batch) + ", " + std::to_string(sizes.slots) + " slots, " +
         std::to_string(sizes.tokens) + " tokens, " + std::to_string(sizes.dim) + " features";
}

const char* const kLayers[] = {"query", "key",    "value",     "input gates", "hidden gates",
                               "first", "second", "slot norm", "MLP norm"};

kernels::SlotAttentionWeights weights_of(const std::vector<Tensor>& in) {
  const auto layer = [&](size_t i) { return kernels::Linear{in[2 + 2 * i], in[3 + 2 * i]}; };
  return {layer(0), layer(1), layer(2), layer(3), layer(4), layer(5), layer(6), layer(7), layer(8)};
}

std::vector<Input> drawn(const Sizes& sizes, at::ScalarType type, bool keep_away) {
  const int64_t dim = sizes.dim, hidden = sizes.hidden;
  std::vector<Input> inputs{{"tokens", at::randn({sizes.batch, sizes.tokens, dim}), type},
                            {"initial slots", at::randn({sizes.slots, dim})}};
  const auto linear = [&](size_t layer, int64_t out, int64_t in) {
    inputs.emplace_back(std::string(kLayers[layer]) + " weight",
                        at::randn({out, in}) / std::sqrt(static_cast<double>(in)));
    inputs.emplace_back(std::string(kLayers[layer]) + " bias", 0.3 * at::randn({out}));
  };
  linear(0, dim, dim);
  linear(1, dim, dim);
  linear(2, dim, dim);
  linear(3, 3 * dim, dim);
  linear(4, 3 * dim, dim);
  linear(5, hidden, dim);
  if (keep_away) {
    // Half of the units are below 0 and half above, whatever the slots are: by six standard deviations.
    inputs.back().value = at::where(at::arange(hidden).remainder(2) == 0, at::full({}, 6.0, at::kDouble),
                                    at::full({}, -6.0, at::kDouble));
  }
  linear(6, dim, hidden);
  if (keep_away) inputs[inputs.size() - 2] = {"second weight", 0.2 * inputs[inputs.size() - 2].value};
  for (const size_t layer : {7, 8}) {
    inputs.emplace_back(std::string(kLayers[layer]) + " weight", 1 + 0.2 * at::randn({dim}));
    inputs.emplace_back(std::string(kLayers[layer]) + " bias", 0.2 * at::randn({dim}));
  }
  return inputs;
}

/// Attention is of the order of 1 / N, and would not count in a sum of all.
std::vector<Output> outputs(const Tensor& slots, const Tensor& queries, const Tensor& attention, int64_t tokens,
                            const std::string& prefix = "") {
  return {{prefix + "slots", slots},
          {prefix + "queries", queries},
          {prefix + "attention times N", attention * static_cast<double>(tokens)}};
}

Check slot_attention(const std::string& name, const Subject& subject, const Sizes& sizes, at::ScalarType type,
                     bool rounded) {
  Problem problem;
  const bool keep_away = rounded || sizes.batch * sizes.slots * sizes.hidden * sizes.iterations > kMany;
  for (int i = 0; i < kSeeds; ++i) {
    problem.inputs = drawn(sizes, type, keep_away);
    std::vector<Tensor> values;
    for (const Input& input : problem.inputs) values.push_back(input.value);
    const at::NoGradGuard no_grad;
    if (reference::slot_attention(values[0], values[1], weights_of(values), sizes.iterations, true).closest > kEdge) {
      break;
    }
  }
  problem.float32 = rounded
                        ? Tolerance{0.05,
                                    "both factors of every product are rounded to bfloat16, by 2^-8, in layers that "
                                    "follow each other; the reference is not rounded"}
                        : float32_tolerance();
  problem.bfloat16 = rounded ? problem.float32 : bfloat16_tolerance();
  problem.by_length = rounded;
  problem.exact = [=](const std::vector<Tensor>& in) {
    const auto result = reference::slot_attention(in[0], in[1], weights_of(in), sizes.iterations);
    std::vector<Output> all = outputs(result.slots, result.queries, result.attention, sizes.tokens);
    for (const char* prefix : {"inferred ", "inferred by joined weights "}) {
      for (const Output& each :
           outputs(result.slots.detach(), result.queries.detach(), result.attention.detach(), sizes.tokens, prefix)) {
        all.push_back(each);
      }
    }
    return all;
  };
  const Kernels& kernels = subject.kernels;
  problem.own = [=, &kernels](const std::vector<Tensor>& in) {
    const auto weights = weights_of(in);
    const auto result = kernels.slot_attention(in[0], in[1], weights, sizes.iterations, rounded, nullptr);
    std::vector<Output> all = outputs(result.slots, result.queries, result.attention, sizes.tokens);
    // Without gradients less is computed.
    const at::NoGradGuard no_grad;
    const kernels::JoinedSlotWeights joined = kernels.join(weights);
    const auto infer = [&](const char* prefix, const kernels::JoinedSlotWeights* by) {
      const auto own = kernels.slot_attention(in[0], in[1], weights, sizes.iterations, rounded, by);
      for (const Output& each : outputs(own.slots, own.queries, own.attention, sizes.tokens, prefix)) {
        all.push_back(each);
      }
    };
    infer("inferred ", nullptr);
    infer("inferred by joined weights ", &joined);
    return all;
  };
  return verify(name, problem, subject.device);
}

Check cross_attention(const std::string& name, const Subject& subject, const Sizes& sizes, at::ScalarType type,
                      double sharpening) {
  const int64_t dim = sizes.dim;
  const auto count = static_cast<double>(sizes.tokens);
  Problem problem;
  problem.inputs = {{"queries", at::randn({sizes.batch, sizes.slots, dim})},
                    {"tokens", at::randn({sizes.batch, sizes.tokens, dim}), type},
                    {"key weight", at::randn({dim, dim}) / std::sqrt(static_cast<double>(dim))},
                    {"key bias", at::randn({dim})}};
  problem.float32 = float32_tolerance();
  problem.bfloat16 = bfloat16_tolerance();
  problem.exact = [=](const std::vector<Tensor>& in) -> std::vector<Output> {
    return {{"attention times N", reference::attention(in[0], at::linear(in[1], in[2], in[3]), sharpening) * count}};
  };
  const Kernels& kernels = subject.kernels;
  problem.own = [=, &kernels](const std::vector<Tensor>& in) -> std::vector<Output> {
    return {{"attention times N", kernels.cross_attention(in[0], in[1], {in[2], in[3]}, false, sharpening) * count}};
  };
  return verify(name, problem, subject.device);
}

}  // namespace

void verify_slots(const Subject& subject, Report& report) {
  // Up to eight samples are one cooperative launch, more are a launch for each operation. Odd numbers are read one by
  // one, multiples of eight by packs.
  std::vector<Sizes> all{{1, 1, 1, 8, 5, 1},    {1, 2, 49, 32, 64, 5},  {2, 3, 16, 37, 41, 2},
                         {8, 4, 33, 24, 48, 3}, {8, 8, 100, 16, 20, 2}, {9, 2, 49, 32, 64, 3},
                         {9, 5, 7, 37, 41, 2},  {11, 8, 64, 16, 20, 2}, {3, 7, 400, 8, 12, 2}};
  if (!subject.small) {
    // The paper's, and neighbours of its sizes.
    all.insert(all.end(), {{1, 2, 49, 512, 1024, 5},
                           {8, 2, 49, 512, 1024, 5},
                           {8, 2, 16, 512, 1024, 5},
                           {8, 8, 400, 512, 1024, 5},
                           {9, 2, 49, 512, 1024, 5},
                           {64, 2, 49, 512, 1024, 5},
                           {64, 2, 16, 512, 1024, 5},
                           {24, 5, 196, 256, 512, 3},
                           {16, 8, 400, 128, 256, 3},
                           {4, 3, 100, 510, 1000, 3}});
  }
  uint64_t seed = 1000;
  for (const Sizes& sizes : all) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      const std::string tokens = type == at::kFloat ? ", float32" : ", tokens in bfloat16";
      std::string name = "slot attention, " + text(sizes) + ", " + std::to_string(sizes.iterations) + " iterations" +
                         tokens + (sizes.batch <= 8 ? ", one launch" : "");
      attempt(report, name, ++seed, [&] { return slot_attention(name, subject, sizes, type, false); });
      for (const double sharpening : {1.0, 0.1}) {
        name = "cross attention, " + text(sizes) + tokens + (sharpening == 1 ? "" : ", sharpened by 0.1");
        attempt(report, name, ++seed, [&] { return cross_attention(name, subject, sizes, type, sharpening); });
      }
    }
    if (sizes.dim % 8 == 0 && sizes.dim >= 32 && sizes.tokens < 400) {
      const std::string name = "slot attention, " + text(sizes) + ", products in bfloat16";
      attempt(report, name, ++seed, [&] { return slot_attention(name, subject, sizes, at::kBFloat16, true); });
    }
  }
}

}  // namespace soundspot::verify
