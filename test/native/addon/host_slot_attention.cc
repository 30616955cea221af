// Slot attention and the attention across modalities.
#include "host_kernels.h"
#include "kernels/cuda/cross_attention_function.h"

namespace soundspot::testing {
namespace {

using kernels::cuda::Host;

constexpr double kAttentionEpsilon = 1e-8, kLayerNormEpsilon = 1e-5;

/// Eq. 3 and the normalization of Eq. 4.
Tensor attend(const Tensor& queries, const Tensor& keys, double sharpening = 1) {
  const Tensor logits =
      at::matmul(queries, keys.transpose(1, 2)) * sharpening / std::sqrt(static_cast<double>(queries.size(2)));
  const Tensor attention = at::softmax(logits, 1) + kAttentionEpsilon;
  return attention / attention.sum(2, /*keepdim=*/true);
}

Comparisons slot_attention(const Case& of) {
  const int64_t batch = of.of("batch"), slots = of.of("slots"), tokens = of.of("tokens"), dim = of.of("dim"),
                hidden = of.of("hidden"), iterations = of.of("iterations");
  const Leaf x(at::randn({batch, tokens, dim}).to(of.type())), initial(at::randn({slots, dim}));
  std::vector<std::pair<std::string, Leaf>> leaves{{"tokens", x}, {"initial slots", initial}};
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    leaves.emplace_back(name + " weight", Leaf(at::randn({out, in}) / std::sqrt(static_cast<double>(in))));
    leaves.emplace_back(name + " bias", Leaf(0.3 * at::randn({out})));
  };
  linear("query", dim, dim);
  linear("key", dim, dim);
  linear("value", dim, dim);
  linear("input gates", 3 * dim, dim);
  linear("hidden gates", 3 * dim, dim);
  linear("first", hidden, dim);
  linear("second", dim, hidden);
  for (const char* name : {"slot norm", "MLP norm"}) {
    leaves.emplace_back(std::string(name) + " weight", Leaf(1 + 0.2 * at::randn({dim})));
    leaves.emplace_back(std::string(name) + " bias", Leaf(0.2 * at::randn({dim})));
  }
  const auto own = [&](size_t i) {
    return kernels::Linear{leaves[2 + 2 * i].second.own, leaves[3 + 2 * i].second.own};
  };
  const auto result = kernels::cuda::slot_attention_by<Host>(
      x.own, initial.own, {own(0), own(1), own(2), own(3), own(4), own(5), own(6), own(7), own(8)}, iterations,
      of.flag("rounded"), nullptr);

  const auto exact = [&](size_t i, const Tensor& in) {
    return at::linear(in, leaves[2 + 2 * i].second.exact, leaves[3 + 2 * i].second.exact);
  };
  const auto norm = [&](size_t i, const Tensor& in) {
    return at::layer_norm(in, {dim}, leaves[2 + 2 * i].second.exact, leaves[3 + 2 * i].second.exact, kLayerNormEpsilon);
  };
  const Tensor keys = exact(1, x.exact), values = exact(2, x.exact);
  Tensor state = initial.exact.expand({batch, slots, dim}), queries, attention;
  for (int64_t t = 0; t < iterations; ++t) {
    queries = exact(0, norm(7, state));
    attention = attend(queries, keys);
    const Tensor input = exact(3, at::matmul(attention, values)), before = exact(4, state);
    const auto gate = [&](const Tensor& gates, int64_t i) { return gates.narrow(2, i * dim, dim); };
    const Tensor reset = at::sigmoid(gate(input, 0) + gate(before, 0)),
                 update = at::sigmoid(gate(input, 1) + gate(before, 1)),
                 fresh = at::tanh(gate(input, 2) + reset * gate(before, 2));
    state = (1 - update) * fresh + update * state;
    state = state + exact(6, exact(5, norm(8, state)).relu());
  }
  Comparisons list;
  compare_all(list,
              {{"slots", {result.slots, state}},
               {"queries", {result.queries, queries}},
               // Attention is of the order of 1 / N, and would not count in a sum of all.
               {"attention", {result.attention * tokens, attention * tokens}}},
              leaves);
  // Without gradients less is computed.
  const at::NoGradGuard no_grad;
  const auto joined = kernels::cuda::joined(
      kernels::cuda::ordered({own(0), own(1), own(2), own(3), own(4), own(5), own(6), own(7), own(8)}));
  const auto inferred = kernels::cuda::slot_attention_by<Host>(
      x.own, initial.own, {own(0), own(1), own(2), own(3), own(4), own(5), own(6), own(7), own(8)}, iterations,
      of.flag("rounded"), of.flag("joined") ? &joined : nullptr);
  list.push_back({"inferred slots", inferred.slots, state});
  list.push_back({"inferred queries", inferred.queries, queries});
  list.push_back({"inferred attention", inferred.attention, attention});
  return list;
}

Comparisons cross_attention(const Case& of) {
  const int64_t batch = of.of("batch"), slots = of.of("slots"), tokens = of.of("tokens"), dim = of.of("dim");
  const double sharpening = static_cast<double>(of.of("sharpening")) / 10;
  const Leaf queries(at::randn({batch, slots, dim})), x(at::randn({batch, tokens, dim}).to(of.type())),
      weight(at::randn({dim, dim}) / std::sqrt(static_cast<double>(dim))), bias(at::randn({dim}));
  const Tensor own =
      kernels::cuda::cross_attention_by<Host>(queries.own, x.own, {weight.own, bias.own}, false, sharpening);
  const Tensor exact = attend(queries.exact, at::linear(x.exact, weight.exact, bias.exact), sharpening);
  Comparisons list;
  compare_all(list, {{"attention", {own * tokens, exact * tokens}}},
              {{"queries", queries}, {"tokens", x}, {"key weight", weight}, {"key bias", bias}});
  return list;
}

Comparisons matching(const Case& of) {
  const int64_t batch = of.of("batch"), slots = of.of("slots"), targets = of.of("targets");
  const auto attention = [&](const char* tokens) { return Leaf(at::rand({batch, slots, of.of(tokens)})); };
  const Leaf cross_image = attention("tokens"), own_image = attention("tokens"), cross_audio = attention("others"),
             own_audio = attention("others");
  const Tensor own =
      kernels::cuda::matching_by<Host>(cross_image.own, own_image.own, cross_audio.own, own_audio.own, targets);
  const auto target = [&](const Tensor& maps) { return maps.narrow(1, 0, targets); };
  const Tensor exact = at::mse_loss(target(cross_image.exact), target(own_image.exact).detach()) +
                       at::mse_loss(target(cross_audio.exact), target(own_audio.exact).detach());
  Comparisons list;
  compare_all(list, {{"loss", {own, exact}}}, {{"audio on image", cross_image}, {"image on audio", cross_audio}});
  list.push_back(
      {"no gradient", at::full({}, own_image.own.grad().defined() || own_audio.own.grad().defined()), at::zeros({})});
  return list;
}

/// A tensor that is not of the kernel's type, in the place of each of four.
Comparisons types(const Case& of) {
  const int64_t odd = of.of("odd");
  std::vector<Tensor> attentions;
  for (int64_t i = 0; i < 4; ++i) attentions.push_back(at::rand({2, 2, 5}).to(i == odd ? of.type() : at::kFloat));
  bool rejected = false;
  try {
    kernels::cuda::matching_by<Host>(attentions[0], attentions[1], attentions[2], attentions[3], 1);
  } catch (const c10::Error&) {
    rejected = true;
  }
  return {{"rejected", at::full({}, rejected), at::full({}, of.type() != at::kFloat)}};
}

const RegisterComparison registered("slotAttention", slot_attention),
    registered_cross("crossAttention", cross_attention), registered_matching("matching", matching),
    registered_types("types", types);

}  // namespace
}  // namespace soundspot::testing
