// Slot attention on tensors, with its backward, over a launcher: Device (functions.cu) or Host (tests).
#pragma once

#include "kernels/cuda/attention.h"
#include "kernels/cuda/cooperative.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/slots.h"
#include "kernels/cuda/tensors.h"
#include "kernels/device.h"

namespace soundspot::kernels::cuda {

/// Calls `work(Number{}, Width<w>{}, Width<s>{})` for the type of tokens [B, N, D] and so many slots at a time.
template <class Work>
void with_attention(const Tensor& tokens, int64_t slots, const Work& work) {
  with_packs(tokens, tokens.size(2), {}, [&](auto number, auto width) {
    if (slots <= 2) return work(number, width, Width<2>{});
    work(number, width, Width<4>{});
  });
}

inline float attention_scale(int64_t dim) { return static_cast<float>(1 / std::sqrt(static_cast<double>(dim))); }

/// Everything that the backward pass needs again, in rows: for each of the L iterations B·S, of one sample's slots side
/// by side.
struct SlotTrace {
  Tensor tokens;                                       // [B, N, D]
  Tensor slots, normed, inverse, affine;               // [L·B·S, …], before the iteration, and their layer norm
  Tensor queries, on_tokens;                           // q and W_kᵀ q, [L·B·S, D]
  Tensor hidden_gates;                                 // [L·B·S, 3 D]
  Tensor attention, shares, totals;                    // [L, B, S, N], [L, B, S, N], [L·B·S]
  Tensor gathered, updates, gates;                     // [L·B·S, …]
  Tensor mlp_normed, mlp_inverse, mlp_affine, hidden;  // [L·B·S, …]

  std::vector<Tensor*> all() {
    return {&tokens, &slots,  &normed,   &inverse, &affine, &queries,    &on_tokens,   &hidden_gates, &attention,
            &shares, &totals, &gathered, &updates, &gates,  &mlp_normed, &mlp_inverse, &mlp_affine,   &hidden};
  }
};

/// Places of the weights in the function's list, each with its bias after it.
enum SlotWeight : size_t {
  kQuery = 0,
  kKey = 2,
  kValue = 4,
  kInput = 6,
  kState = 8,
  kFirst = 10,
  kSecond = 12,
  kSlotNorm = 14,
  kMlpNorm = 16
};

inline std::vector<Tensor> ordered(const SlotAttentionWeights& weights) {
  std::vector<Tensor> list;
  for (const Linear* each : {&weights.query, &weights.key, &weights.value, &weights.input_gates, &weights.hidden_gates,
                             &weights.first, &weights.second, &weights.slot_norm, &weights.mlp_norm}) {
    list.push_back(each->weight);
    list.push_back(each->bias);
  }
  return list;
}

inline JoinedSlotWeights joined(const std::vector<Tensor>& w) {
  const at::NoGradGuard no_grad;
  // Joined with the weight and bias of the norm before it: W (γ n + β) + b.
  const auto past_norm = [&](const Tensor& weight, const Tensor& bias, SlotWeight norm) {
    return Linear{(weight * w[norm]).contiguous(), bias + at::mv(weight, w[norm + 1])};
  };
  const Tensor key = at::cat({w[kKey].t(), w[kKey + 1].unsqueeze(0)});  // [D + 1, D]
  return {past_norm(at::mm(key, w[kQuery]), at::mv(key, w[kQuery + 1]), kSlotNorm),
          {w[kState].contiguous(), w[kState + 1]},
          {at::mm(w[kInput], w[kValue]), w[kInput + 1] + at::mv(w[kInput], w[kValue + 1])},
          past_norm(w[kFirst], w[kFirst + 1], kMlpNorm),
          {w[kSecond].contiguous(), w[kSecond + 1]}};
}

template <class Launcher>
class SlotAttentionFunction : public torch::autograd::Function<SlotAttentionFunction<Launcher>> {
  using Context = torch::autograd::AutogradContext;
  using List = torch::autograd::variable_list;
  static constexpr size_t kWeights = 18;
  static constexpr int64_t kCooperativeBatch = 8;  // the most samples of one cooperative launch

 public:
  static List forward(Context* context, const Tensor& input, const Tensor& initial, at::TensorList weights,
                      int64_t iterations, bool bfloat16) {
    auto [results, trace] = computed(input, initial, weights, iterations, bfloat16, /*keep=*/true, nullptr);
    List saved(weights.begin(), weights.end());
    for (Tensor* tensor : trace.all()) saved.push_back(*tensor);
    context->save_for_backward(saved);
    context->saved_data["iterations"] = iterations;
    context->saved_data["bfloat16"] = bfloat16;
    return results;
  }

  /// Slots, queries and attention, and what a backward pass needs; without `keep` it is not complete.
  static std::pair<List, SlotTrace> computed(const Tensor& input, const Tensor& initial, at::TensorList weights,
                                             int64_t iterations, bool bfloat16, bool keep,
                                             const JoinedSlotWeights* given) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const Launcher run(input);
    const List w(weights.begin(), weights.end());
    const int64_t batch = input.size(0), slots = initial.size(0), tokens = input.size(1), dim = input.size(2);
    const int64_t each = batch * slots, all = iterations * each, inner = w[kFirst].size(0);
    const auto buffer = [&](at::IntArrayRef sizes) { return at::empty(sizes, initial.options().requires_grad(false)); };
    SlotTrace trace{.tokens = input.contiguous(),
                    .slots = buffer({all, dim}),
                    .normed = buffer({all, dim}),
                    .inverse = buffer({all}),
                    .affine = buffer({all, dim}),
                    .queries = buffer({all, dim}),
                    .on_tokens = buffer({all, dim}),
                    .hidden_gates = buffer({all, 3 * dim}),
                    .attention = buffer({iterations, batch, slots, tokens}),
                    .shares = buffer({iterations, batch, slots, tokens}),
                    .totals = buffer({all}),
                    .gathered = buffer({all, dim}),
                    .updates = buffer({all, dim}),
                    .gates = buffer({all, 3 * dim}),
                    .mlp_normed = buffer({all, dim}),
                    .mlp_inverse = buffer({all}),
                    .mlp_affine = buffer({all, dim}),
                    .hidden = buffer({all, inner})};
    const Tensor result = buffer({each, dim});
    trace.slots.narrow(0, 0, each).view({batch, slots, dim}).copy_(initial.expand({batch, slots, dim}));
    const bool together = batch > 0 && batch <= kCooperativeBatch && !bfloat16 &&
                          launch_together(run, trace, w, iterations, result, keep, given);
    if (!together) iterate(run, trace, w, slots, iterations, bfloat16, result);
    const Tensor last = trace.queries.narrow(0, all - each, each).clone();
    return {{result.view({batch, slots, dim}), last.view({batch, slots, dim}), trace.attention[iterations - 1].clone()},
            std::move(trace)};
  }

  static List backward(Context* context, const List& gradients) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const List w = context->get_saved_variables();
    SlotTrace trace;
    size_t index = kWeights;
    for (Tensor* tensor : trace.all()) *tensor = w[index++];
    const int64_t iterations = context->saved_data["iterations"].toInt();
    const bool bfloat16 = context->saved_data["bfloat16"].toBool();
    const Launcher run(trace.tokens);
    const int64_t batch = trace.tokens.size(0), tokens = trace.tokens.size(1), dim = trace.tokens.size(2);
    const int64_t slots = trace.attention.size(2), each = batch * slots, all = iterations * each;
    const auto buffer = [&](at::IntArrayRef sizes) { return at::empty(sizes, trace.slots.options()); };
    const auto factor = [&](size_t weight) { return CudaFactor(w[weight], {}, bfloat16); };
    const CudaFactor query = factor(kQuery), key(w[kKey].t(), {}, bfloat16), value = factor(kValue),
                     input = factor(kInput), state = factor(kState), first = factor(kFirst), second = factor(kSecond);

    // The factors of the weights' gradients, multiplied at the end for all iterations at once.
    const Tensor of_second = buffer({all, dim}), of_first = buffer({all, w[kFirst].size(0)}),
                 of_mlp_affine = buffer({all, dim}), of_input = buffer({all, 3 * dim}),
                 of_state = buffer({all, 3 * dim}), of_updates = buffer({all, dim}), of_on_tokens = buffer({all, dim}),
                 of_offsets = buffer({all}), of_queries = buffer({all, dim}), of_affine = buffer({all, dim});
    // dx = Σ over iterations and slots of Â · dū + dl · (W_kᵀ q): for each sample a product of these two.
    const Tensor coefficients = buffer({batch, iterations, 2, slots, tokens}),
                 vectors = buffer({batch, iterations, 2, slots, dim});
    const Tensor outer = gradients[2].defined() ? gradients[2].contiguous() : Tensor();

    Tensor of_slots = gradients[0].defined() ? gradients[0].reshape({each, dim}).clone()
                                             : at::zeros_like(trace.slots.narrow(0, 0, each));
    for (int64_t t = iterations - 1; t >= 0; --t) {
      const bool last = t + 1 == iterations;
      const auto at = [&](const Tensor& rows) { return rows.narrow(0, t * each, each); };
      at(of_second).copy_(of_slots);
      second(of_slots, at(of_first));
      at(of_first).mul_(at(trace.hidden).gt(0));
      first(at(of_first), at(of_mlp_affine));
      const Tensor before = buffer({each, dim});
      run.launch(RowWarps::grid(each),
                 GruNormRowsGradient{each, dim, read<float>(at(of_mlp_affine)), read<float>(w[kMlpNorm]),
                                     read<float>(at(trace.mlp_normed)), read<float>(at(trace.mlp_inverse)),
                                     read<float>(at(trace.gates)), read<float>(at(trace.hidden_gates)),
                                     read<float>(at(trace.slots)), write<float>(of_slots), write<float>(at(of_input)),
                                     write<float>(at(of_state)), write<float>(before)});
      input(at(of_input), at(of_updates));
      const Tensor of_gathered = value(at(of_updates));
      const Tensor own_factors = coefficients.select(1, t), own_vectors = vectors.select(1, t);
      with_attention(trace.tokens, slots, [&](auto number, auto width, auto at_once) {
        using Kernel = AttendGradient<decltype(number), decltype(width)::value, decltype(at_once)::value>;
        run.launch({batch, 1, Kernel::kShared}, Kernel{{slots, tokens, dim},
                                                       attention_scale(dim),
                                                       read<float>(of_gathered),
                                                       last ? read<float>(outer) : nullptr,
                                                       read<float>(trace.attention[t]),
                                                       read<float>(trace.shares[t]),
                                                       read<float>(at(trace.totals)),
                                                       read<float>(at(trace.on_tokens)),
                                                       read<decltype(number)>(trace.tokens),
                                                       write<float>(at(of_on_tokens)),
                                                       write<float>(at(of_offsets)),
                                                       write<float>(own_factors.select(1, 1)),
                                                       coefficients.stride(0),
                                                       write<float>(own_factors),
                                                       write<float>(own_vectors),
                                                       vectors.stride(0)});
      });
      const Tensor of_query = at(of_queries);
      key(at(of_on_tokens), of_query);
      Tensor(of_query).addr_(at(of_offsets), w[kKey + 1]);
      if (last && gradients[1].defined()) Tensor(of_query).add_(gradients[1].reshape({each, dim}));
      query(of_query, at(of_affine));
      of_slots = before;
      of_slots.add_(state(at(of_state)));
      run.launch(RowWarps::grid(each), NormRowsGradient{each, dim, read<float>(at(of_affine)),
                                                        read<float>(w[kSlotNorm]), read<float>(at(trace.normed)),
                                                        read<float>(at(trace.inverse)), write<float>(of_slots)});
    }

    const int64_t pairs = iterations * 2 * slots;
    List result{at::bmm(coefficients.view({batch, pairs, tokens}).transpose(1, 2), vectors.view({batch, pairs, dim}))
                    .to(trace.tokens.scalar_type()),
                of_slots.view({batch, slots, dim}).sum(0)};
    const auto linear = [&](const Tensor& of, const Tensor& from) {
      result.push_back(weight_gradient(of, from, bfloat16));
      result.push_back(of.sum(0));
    };
    linear(of_queries, trace.affine);
    result.push_back(weight_gradient(trace.queries, of_on_tokens, bfloat16));
    result.push_back(at::mv(trace.queries.t(), of_offsets));
    linear(of_updates, trace.gathered);
    linear(of_input, trace.updates);
    linear(of_state, trace.slots);
    linear(of_first, trace.mlp_affine);
    linear(of_second, trace.hidden);
    const auto norm = [&](const Tensor& of, const Tensor& normed) {
      result.push_back((of * normed).sum(0));
      result.push_back(of.sum(0));
    };
    norm(of_affine, trace.normed);
    norm(of_mlp_affine, trace.mlp_normed);
    result.emplace_back();  // iterations
    result.emplace_back();  // bfloat16
    return result;
  }

 private:
  /// Fills the trace and `result`, the slots after the last iteration.
  static void iterate(const Launcher& run, const SlotTrace& trace, const List& w, int64_t slots, int64_t iterations,
                      bool bfloat16, const Tensor& result) {
    const int64_t batch = trace.tokens.size(0), tokens = trace.tokens.size(1), dim = trace.tokens.size(2);
    const int64_t each = batch * slots;
    const auto factor = [&](size_t weight) { return CudaFactor(w[weight].t(), w[weight + 1], bfloat16); };
    const CudaFactor query = factor(kQuery), key(w[kKey], {}, bfloat16), value = factor(kValue), input = factor(kInput),
                     state = factor(kState), first = factor(kFirst), second = factor(kSecond);
    const Tensor gate_inputs = at::empty({each, 3 * dim}, result.options()), updated = at::empty_like(result);
    for (int64_t t = 0; t < iterations; ++t) {
      const auto at = [&](const Tensor& rows) { return rows.narrow(0, t * each, each); };
      run.launch(RowWarps::grid(each), NormRows{each, dim, read<float>(at(trace.slots)), read<float>(w[kSlotNorm]),
                                                read<float>(w[kSlotNorm + 1]), write<float>(at(trace.normed)),
                                                write<float>(at(trace.inverse)), write<float>(at(trace.affine))});
      query(at(trace.affine), at(trace.queries));                     // Eq. 2
      key(at(trace.queries), at(trace.on_tokens));                    // W_kᵀ q
      const Tensor offsets = at::mv(at(trace.queries), w[kKey + 1]);  // q·b_k
      state(at(trace.slots), at(trace.hidden_gates));
      with_attention(trace.tokens, slots, [&](auto number, auto width, auto at_once) {
        using Kernel = Attend<decltype(number), decltype(width)::value, decltype(at_once)::value>;
        run.launch({batch, 1, Kernel::kShared}, Kernel{{slots, tokens, dim},
                                                       attention_scale(dim),
                                                       read<float>(at(trace.on_tokens)),
                                                       read<float>(offsets),
                                                       read<decltype(number)>(trace.tokens),
                                                       write<float>(trace.attention[t]),
                                                       write<float>(trace.shares[t]),
                                                       write<float>(at(trace.totals)),
                                                       write<float>(at(trace.gathered))});  // Eq. 3, and 4 before W_v
      });
      value(at(trace.gathered), at(trace.updates));
      input(at(trace.updates), gate_inputs);
      run.launch(RowWarps::grid(each),
                 GruNormRows{each, dim, read<float>(gate_inputs), read<float>(at(trace.hidden_gates)),
                             read<float>(at(trace.slots)), read<float>(w[kMlpNorm]), read<float>(w[kMlpNorm + 1]),
                             write<float>(at(trace.gates)), write<float>(updated), write<float>(at(trace.mlp_normed)),
                             write<float>(at(trace.mlp_inverse)), write<float>(at(trace.mlp_affine))});  // Eq. 5
      first(at(trace.mlp_affine), at(trace.hidden));
      at(trace.hidden).relu_();
      const Tensor next = t + 1 < iterations ? trace.slots.narrow(0, (t + 1) * each, each) : result;
      second(at(trace.hidden), next);
      Tensor(next).add_(updated);  // Eq. 6
    }
  }

  /// The same in one launch; false, and nothing is done, where the device holds no block of it. Without `keep` the
  /// trace lacks what a backward pass alone reads.
  static bool launch_together(const Launcher& run, const SlotTrace& trace, const List& w, int64_t iterations,
                              const Tensor& result, bool keep, const JoinedSlotWeights* given) {
    const int64_t batch = trace.tokens.size(0), tokens = trace.tokens.size(1), dim = trace.tokens.size(2);
    const int64_t each = result.size(0), slots = each / batch, all = iterations * each, inner = w[kFirst].size(0);
    const JoinedSlotWeights own = given != nullptr ? *given : joined(w);
    const Tensor updated = at::empty({all, dim}, result.options()), offsets = at::empty({each}, result.options());
    const auto rows_of = [](const Linear& layer) {
      return LinearRows{read<float>(layer.weight), read<float>(layer.bias), layer.weight.size(0)};
    };
    const JoinedWeights layers{rows_of(own.query), rows_of(own.hidden), rows_of(own.input), rows_of(own.first),
                               rows_of(own.second)};
    const bool packed = inner % 4 == 0 && packs(dim, {own.hidden.weight}) && packs(inner, {own.second.weight});
    const auto launch = [&](auto number, auto token_width, auto width, auto at_once) {
      using Number = decltype(number);
      using Kernel =
          CooperativeSlots<Number, decltype(token_width)::value, decltype(width)::value, decltype(at_once)::value>;
      const Kernel kernel{{slots, tokens, dim},
                          batch,
                          iterations,
                          attention_scale(dim),
                          layers,
                          read<Number>(trace.tokens),
                          write<float>(trace.slots),
                          write<float>(trace.on_tokens),
                          write<float>(offsets),
                          write<float>(trace.hidden_gates),
                          write<float>(trace.attention),
                          write<float>(trace.shares),
                          write<float>(trace.totals),
                          write<float>(trace.gathered),
                          write<float>(trace.gates),
                          write<float>(updated),
                          write<float>(trace.hidden),
                          write<float>(result)};
      const int64_t shared = Kernel::shared_bytes(each), most = run.template most_blocks<Kernel>(shared);
      if (most < 1) return false;
      run.launch_cooperative(kernel.stages(), {std::min(most, kernel.blocks()), 1, shared}, kernel);
      return true;
    };
    bool launched = false;
    with_packs(trace.tokens, dim, {}, [&](auto number, auto width) {
      const auto by_rows = [&](auto token_width, auto weight_width) {
        launched = each <= 2 ? launch(number, token_width, weight_width, Width<2>{})
                             : launch(number, token_width, weight_width, Width<8>{});
      };
      if constexpr (decltype(width)::value > 1) {
        if (packed) return by_rows(width, Width<4>{});
      }
      by_rows(Width<1>{}, Width<1>{});
    });
    if (!launched) return false;

    // What the launch did not write: of all iterations for a backward pass, else the queries of the last.
    const int64_t from = keep ? 0 : all - each, count = all - from;
    const auto rows = [&](const Tensor& tensor) { return tensor.narrow(0, from, count); };
    const auto linear = [&](const Tensor& x, SlotWeight weight, const Tensor& out) {
      CudaFactor(w[weight].t(), w[weight + 1], false)(rows(x), rows(out));
    };
    const auto norm = [&](const Tensor& x, SlotWeight weight, const Tensor& normed, const Tensor& inverse,
                          const Tensor& affine) {
      run.launch(RowWarps::grid(count),
                 NormRows{count, dim, read<float>(rows(x)), read<float>(w[weight]), read<float>(w[weight + 1]),
                          write<float>(rows(normed)), write<float>(rows(inverse)), write<float>(rows(affine))});
    };
    norm(trace.slots, kSlotNorm, trace.normed, trace.inverse, trace.affine);
    linear(trace.affine, kQuery, trace.queries);
    if (!keep) return true;
    norm(updated, kMlpNorm, trace.mlp_normed, trace.mlp_inverse, trace.mlp_affine);
    linear(trace.gathered, kValue, trace.updates);
    return true;
  }
};

template <class Launcher>
SlotAttentionResult slot_attention_by(const Tensor& tokens, const Tensor& initial, const SlotAttentionWeights& weights,
                                      int64_t iterations, bool bfloat16, const JoinedSlotWeights* joined) {
  const std::vector<Tensor> list = ordered(weights);
  const auto differentiable = [](const Tensor& tensor) { return tensor.requires_grad(); };
  const bool keep = at::GradMode::is_enabled() && (differentiable(tokens) || differentiable(initial) ||
                                                   std::any_of(list.begin(), list.end(), differentiable));
  using Function = SlotAttentionFunction<Launcher>;
  const auto results =
      keep ? Function::apply(tokens, initial, at::TensorList(list), iterations, bfloat16)
           : Function::computed(tokens, initial, list, iterations, bfloat16, /*keep=*/false, joined).first;
  return {results[0], results[1], results[2]};
}

}  // namespace soundspot::kernels::cuda
