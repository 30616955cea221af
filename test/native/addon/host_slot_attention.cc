// Slot attention and the attention across modalities.
#include "host_kernels.h"
#include "kernels/cuda/cross_attention_function.h"

namespace soundspot::testing {
namespace {

using kernels::cuda::Host;

constexpr double kAttentionEpsilon = 1e-8, kLayerNormEpsilon = 1e-5;
/// Within rounding of ReLU's edge the gradient of either side is right, and none is compared.
constexpr double kEdge = 1e-5;

/// Eq. 3 and the normalization of Eq. 4, of q · k.
Tensor normalized(const Tensor& products, int64_t dim, double sharpening = 1) {
  const Tensor attention =
      at::softmax(products * sharpening / std::sqrt(static_cast<double>(dim)), 1) + kAttentionEpsilon;
  return attention / attention.sum(2, /*keepdim=*/true);
}

Tensor attend(const Tensor& queries, const Tensor& keys, double sharpening = 1) {
  return normalized(at::matmul(queries, keys.transpose(1, 2)), queries.size(2), sharpening);
}

/// A linear layer in double whose factors are rounded to bfloat16, those of its gradients, too.
class RoundedLinear : public torch::autograd::Function<RoundedLinear> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& weight,
                        const Tensor& bias) {
    context->save_for_backward({x, weight});
    return at::linear(rounded(x), rounded(weight), bias);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor of = rounded(gradients[0]);
    const auto rows = [](const Tensor& x) { return x.reshape({-1, x.size(-1)}); };
    return {at::matmul(of, rounded(saved[1])), at::mm(rows(of).t(), rows(rounded(saved[0]))),
            rows(gradients[0]).sum(0)};
  }

 private:
  /// By way of float32, from which the kernels round.
  static Tensor rounded(const Tensor& x) { return x.to(at::kFloat).to(at::kBFloat16).to(at::kDouble); }
};

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

  const bool rounded = of.flag("rounded");
  const auto exact_of = [&](size_t i) {
    return std::pair(leaves[2 + 2 * i].second.exact, leaves[3 + 2 * i].second.exact);
  };
  const auto exact = [&](size_t i, const Tensor& in) {
    const auto [weight, bias] = exact_of(i);
    return rounded ? RoundedLinear::apply(in, weight, bias) : at::linear(in, weight, bias);
  };
  const auto norm = [&](size_t i, const Tensor& in) {
    return at::layer_norm(in, {dim}, leaves[2 + 2 * i].second.exact, leaves[3 + 2 * i].second.exact, kLayerNormEpsilon);
  };
  // Keys and values as the equations have them. With rounded products, where it matters what is multiplied first, as
  // the kernels have them: q · (W_k x + b_k) = (W_kᵀ q) · x + q · b_k, and Σ Â (W_v x + b_v) = W_v Σ Â x + b_v.
  const Tensor keys = rounded ? Tensor() : exact(1, x.exact), values = rounded ? Tensor() : exact(2, x.exact);
  Tensor queries;
  double closest = 1;  // to ReLU's edge
  const auto attended = [&] {
    if (!rounded) return attend(queries, keys);
    const auto [weight, bias] = exact_of(1);
    const Tensor on_tokens = RoundedLinear::apply(queries, weight.t(), at::zeros({dim}, at::kDouble));
    return normalized(at::matmul(on_tokens, x.exact.transpose(1, 2)) + at::matmul(queries, bias).unsqueeze(2), dim);
  };
  Tensor state = initial.exact.expand({batch, slots, dim}), attention;
  for (int64_t t = 0; t < iterations; ++t) {
    queries = exact(0, norm(7, state));
    attention = attended();
    const Tensor updates = rounded ? exact(2, at::matmul(attention, x.exact)) : at::matmul(attention, values);
    const Tensor input = exact(3, updates), before = exact(4, state);
    const auto gate = [&](const Tensor& gates, int64_t i) { return gates.narrow(2, i * dim, dim); };
    const Tensor reset = at::sigmoid(gate(input, 0) + gate(before, 0)),
                 update = at::sigmoid(gate(input, 1) + gate(before, 1)),
                 fresh = at::tanh(gate(input, 2) + reset * gate(before, 2));
    state = (1 - update) * fresh + update * state;
    const Tensor inner = exact(5, norm(8, state));
    closest = std::min(closest, inner.detach().abs().min().item<double>());
    state = state + exact(6, inner.relu());
  }
  Comparisons list;
  compare_all(list,
              {{"slots", {result.slots, state}},
               {"queries", {result.queries, queries}},
               // Attention is of the order of 1 / N, and would not count in a sum of all.
               {"attention", {result.attention * tokens, attention * tokens}}},
              closest > kEdge || rounded ? leaves : std::vector<std::pair<std::string, Leaf>>());
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
