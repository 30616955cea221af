#include "slot_attention/training_cpu.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/cpu/kernels.h"
#include "kernels/device.h"
#include "kernels/factor.h"
#include "kernels/rows.h"

namespace soundspot::slot_attention {

namespace {

using kernels::at_row;
using kernels::Factor;
using kernels::Kernels;
using kernels::kernels;
using kernels::Linear;
using kernels::over;
using kernels::transposed_product;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Rows of all iterations in one tensor. The first iteration has S rows, which stand for every sample, each further
/// one has B·S.
struct Rows {
  int64_t batch, slots, iterations;

  int64_t each() const { return batch * slots; }
  int64_t total() const { return slots + (iterations - 1) * each(); }
  int64_t first(int64_t iteration) const { return iteration == 0 ? 0 : slots + (iteration - 1) * each(); }
  int64_t count(int64_t iteration) const { return iteration == 0 ? slots : each(); }
  /// Of a sample's slot.
  int64_t row(int64_t iteration, int64_t index) const {
    return first(iteration) + (iteration == 0 ? index % slots : index);
  }
  Tensor of(const Tensor& all, int64_t iteration) const { return all.narrow(0, first(iteration), count(iteration)); }
};

/// Everything that the backward pass needs again. "Compact" tensors have Rows::total() rows, the others B·S rows for
/// each of the L iterations.
struct Trace {
  Tensor tokens;                                       // [B, N, D]
  Tensor slots, normed, inverse, affine;               // compact: before the iteration, and their layer norm
  Tensor queries, on_tokens;                           // compact: q and W_kᵀ q
  Tensor hidden_gates;                                 // compact: the hidden state's part of the gates, [rows, 3 D]
  Tensor attention, shares, totals;                    // [L, B, S, N], [L, B, S, N], [L, B·S]
  Tensor gathered, updates, gates;                     // [L·B·S, D], [L·B·S, D], [L·B·S, 3 D]
  Tensor mlp_normed, mlp_inverse, mlp_affine, hidden;  // [L·B·S, …]

  variable_list list() const {
    return {tokens, slots,  normed,   inverse, affine, queries,    on_tokens,   hidden_gates, attention,
            shares, totals, gathered, updates, gates,  mlp_normed, mlp_inverse, mlp_affine,   hidden};
  }
  static Trace from(const variable_list& list, size_t at) {
    Trace trace;
    for (Tensor* tensor :
         {&trace.tokens, &trace.slots, &trace.normed, &trace.inverse, &trace.affine, &trace.queries, &trace.on_tokens,
          &trace.hidden_gates, &trace.attention, &trace.shares, &trace.totals, &trace.gathered, &trace.updates,
          &trace.gates, &trace.mlp_normed, &trace.mlp_inverse, &trace.mlp_affine, &trace.hidden}) {
      *tensor = list[at++];
    }
    return trace;
  }
};

constexpr size_t kWeights = 18;
constexpr size_t kMostSlots = 32;  // the configuration's limit on slots of both kinds

/// The weights in the order of the function's arguments.
struct Ordered {
  explicit Ordered(const variable_list& list) : tensors(list) {}
  const Tensor& query() const { return tensors[0]; }
  const Tensor& query_bias() const { return tensors[1]; }
  const Tensor& key() const { return tensors[2]; }
  const Tensor& key_bias() const { return tensors[3]; }
  const Tensor& value() const { return tensors[4]; }
  const Tensor& value_bias() const { return tensors[5]; }
  const Tensor& input() const { return tensors[6]; }
  const Tensor& input_bias() const { return tensors[7]; }
  const Tensor& state() const { return tensors[8]; }
  const Tensor& state_bias() const { return tensors[9]; }
  const Tensor& first() const { return tensors[10]; }
  const Tensor& first_bias() const { return tensors[11]; }
  const Tensor& second() const { return tensors[12]; }
  const Tensor& second_bias() const { return tensors[13]; }
  const Tensor& slot_norm() const { return tensors[14]; }
  const Tensor& slot_norm_bias() const { return tensors[15]; }
  const Tensor& mlp_norm() const { return tensors[16]; }
  const Tensor& mlp_norm_bias() const { return tensors[17]; }
  const variable_list& tensors;
};

class SlotAttentionFunction : public torch::autograd::Function<SlotAttentionFunction> {
 public:
  static variable_list forward(AutogradContext* context, const Tensor& input, const Tensor& initial,
                               at::TensorList weight_list, int64_t iterations, bool bfloat16) {
    const Kernels& run = kernels();
    const variable_list list(weight_list.begin(), weight_list.end());
    const Ordered w(list);
    const Rows rows{input.size(0), initial.size(0), iterations};
    const int64_t batch = rows.batch, count = rows.slots, tokens = input.size(1), dim = input.size(2);
    const int64_t each = rows.each(), total = rows.total(), all = iterations * each, hidden = w.first().size(0);
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(dim)));
    const auto buffer = [&](at::IntArrayRef sizes) { return at::empty(sizes, input.options()); };

    Trace trace{.tokens = input.contiguous(),
                .slots = buffer({total, dim}),
                .normed = buffer({total, dim}),
                .inverse = buffer({total, 1}),
                .affine = buffer({total, dim}),
                .queries = buffer({total, dim}),
                .on_tokens = buffer({total, dim}),
                .hidden_gates = buffer({total, 3 * dim}),
                .attention = buffer({iterations, batch, count, tokens}),
                .shares = buffer({iterations, batch, count, tokens}),
                .totals = buffer({iterations * each, 1}),
                .gathered = buffer({all, dim}),
                .updates = buffer({all, dim}),
                .gates = buffer({all, 3 * dim}),
                .mlp_normed = buffer({all, dim}),
                .mlp_inverse = buffer({all, 1}),
                .mlp_affine = buffer({all, dim}),
                .hidden = buffer({all, hidden})};
    const Factor query(w.query().t(), w.query_bias(), bfloat16, each), key(w.key(), {}, bfloat16, each),
        value(w.value().t(), w.value_bias(), bfloat16, each),
        input_gates(w.input().t(), w.input_bias(), bfloat16, each),
        state_gates(w.state().t(), w.state_bias(), bfloat16, each),
        first(w.first().t(), w.first_bias(), bfloat16, each), second(w.second().t(), w.second_bias(), bfloat16, each);
    const Tensor logits = buffer({each, tokens}), updated = buffer({each, dim}), result = buffer({each, dim}),
                 gate_inputs = buffer({each, 3 * dim});

    rows.of(trace.slots, 0).copy_(initial);
    for (int64_t t = 0; t < iterations; ++t) {
      over(rows.count(t), [&](int64_t i) {
        const int64_t row = rows.first(t) + i;
        float* normed = at_row(trace.normed, row);
        *at_row(trace.inverse, row) = run.standardize(at_row(trace.slots, row), dim, normed);
        run.affine(normed, w.slot_norm().const_data_ptr<float>(), w.slot_norm_bias().const_data_ptr<float>(), dim,
                   at_row(trace.affine, row));
      });
      const Tensor q = rows.of(trace.queries, t);
      query(rows.of(trace.affine, t), q);              // Eq. 2
      key(q, rows.of(trace.on_tokens, t));             // W_kᵀ q
      const Tensor offsets = at::mv(q, w.key_bias());  // q·b_k
      state_gates(rows.of(trace.slots, t), rows.of(trace.hidden_gates, t));

      const Tensor attention = trace.attention[t].view({each, tokens}), shares = trace.shares[t].view({each, tokens});
      const Tensor gathered = trace.gathered.narrow(0, t * each, each), gates = trace.gates.narrow(0, t * each, each);
      over(batch, [&](int64_t sample) {
        const int64_t row = sample * count, from = rows.row(t, row);
        const float* x = trace.tokens.const_data_ptr<float>() + sample * tokens * dim;
        run.logits(at_row(trace.on_tokens, from), dim, x, count, tokens, dim, scale,
                   offsets.const_data_ptr<float>() + (from - rows.first(t)), at_row(logits, row));
        run.attention(at_row(logits, row), count, tokens, 1, at_row(attention, row), at_row(shares, row),
                      at_row(trace.totals, t * each + row));                                    // Eq. 3
        run.gather(at_row(attention, row), x, count, tokens, dim, at_row(gathered, row), dim);  // Eq. 4, before W_v
      });
      const Tensor updates = trace.updates.narrow(0, t * each, each);
      value(gathered, updates);
      input_gates(updates, gate_inputs);
      over(each, [&](int64_t i) {
        const int64_t row = rows.row(t, i), at = t * each + i;
        run.gru(at_row(gate_inputs, i), at_row(trace.hidden_gates, row), at_row(trace.slots, row), dim,
                at_row(updated, i), at_row(gates, i));  // Eq. 5
        float* normed = at_row(trace.mlp_normed, at);
        *at_row(trace.mlp_inverse, at) = run.standardize(at_row(updated, i), dim, normed);
        run.affine(normed, w.mlp_norm().const_data_ptr<float>(), w.mlp_norm_bias().const_data_ptr<float>(), dim,
                   at_row(trace.mlp_affine, at));
      });
      const Tensor inner = trace.hidden.narrow(0, t * each, each);
      first(trace.mlp_affine.narrow(0, t * each, each), inner, /*relu=*/true);
      const Tensor next = t + 1 < iterations ? rows.of(trace.slots, t + 1) : result;
      second(inner, next);
      Tensor(next).add_(updated);  // Eq. 6
    }

    variable_list saved = list;
    for (Tensor& tensor : trace.list()) saved.push_back(std::move(tensor));
    context->save_for_backward(saved);
    context->saved_data["iterations"] = iterations;
    context->saved_data["bfloat16"] = bfloat16;
    const Tensor last = rows.of(trace.queries, iterations - 1);
    const Tensor queries = iterations == 1 ? last.unsqueeze(0).repeat({batch, 1, 1}) : last.clone();
    return {result.view({batch, count, dim}), queries.view({batch, count, dim}),
            trace.attention[iterations - 1].clone()};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const Kernels& run = kernels();
    const variable_list saved = context->get_saved_variables();
    const Ordered w(saved);
    const Trace trace = Trace::from(saved, kWeights);
    const int64_t iterations = context->saved_data["iterations"].toInt();
    const bool bfloat16 = context->saved_data["bfloat16"].toBool();
    const int64_t batch = trace.tokens.size(0), tokens = trace.tokens.size(1), dim = trace.tokens.size(2);
    const Rows rows{batch, trace.attention.size(2), iterations};
    const int64_t count = rows.slots, each = rows.each(), total = rows.total(), all = iterations * each;
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(dim)));
    const auto buffer = [&](at::IntArrayRef sizes) { return at::empty(sizes, trace.tokens.options()); };
    /// Rows of every sample to the S rows that stood for them in the first iteration.
    const auto compacted = [&](const Tensor& full, int64_t t) {
      return t == 0 ? full.view({batch, count, full.size(1)}).sum(0) : full;
    };
    /// Where the gradients for every sample are written: in place, except in the first iteration.
    const auto place = [&](const Tensor& compact, int64_t t) {
      return t == 0 ? buffer({each, compact.size(1)}) : rows.of(compact, t);
    };
    const auto placed = [&](const Tensor& full, const Tensor& compact, int64_t t) {
      if (t == 0) rows.of(compact, 0).copy_(compacted(full, 0));
    };

    const Factor query(w.query(), {}, bfloat16, each), key(w.key().t(), {}, bfloat16, each),
        value(w.value(), {}, bfloat16, each), input_gates(w.input(), {}, bfloat16, each),
        state_gates(w.state(), {}, bfloat16, each), first(w.first(), {}, bfloat16, each),
        second(w.second(), {}, bfloat16, each);

    // The factors of the weights' gradients, multiplied at the end for all iterations at once.
    const Tensor of_second = buffer({all, dim}), of_first = buffer({all, w.first().size(0)}),
                 of_mlp_affine = buffer({all, dim}), of_input = buffer({all, 3 * dim}), of_updates = buffer({all, dim});
    const Tensor of_state = buffer({total, 3 * dim}), of_queries = buffer({total, dim}),
                 of_on_tokens = buffer({total, dim}), of_offsets = buffer({total, 1}), of_affine = buffer({total, dim});
    // dx = Σ over iterations and slots of Â · dū + dl · (W_kᵀ q): for each sample a product of these two.
    const Tensor coefficients = buffer({batch, 2 * iterations * count, tokens});
    const Tensor vectors = buffer({batch, 2 * iterations * count, dim});

    Tensor of_slots = gradients[0].reshape({each, dim}).clone();
    const Tensor of_attention = gradients[2].contiguous();
    for (int64_t t = iterations - 1; t >= 0; --t) {
      const bool last = t + 1 == iterations;
      const Tensor of_inner = of_first.narrow(0, t * each, each);
      second(of_slots, of_inner);
      over(each, [&](int64_t i) {
        const int64_t at = t * each + i;
        run.mask(at_row(trace.hidden, at), trace.hidden.size(1), at_row(of_inner, i));
      });
      const Tensor mlp = of_mlp_affine.narrow(0, t * each, each);
      first(of_inner, mlp);

      const Tensor gate_inputs = of_input.narrow(0, t * each, each), hidden_gates = place(of_state, t),
                   before = buffer({each, dim});
      over(each, [&](int64_t i) {
        const int64_t at = t * each + i, row = rows.row(t, i);
        std::copy_n(at_row(of_slots, i), dim, at_row(of_second, at));
        run.standardize_gradient(at_row(mlp, i), w.mlp_norm().const_data_ptr<float>(), at_row(trace.mlp_normed, at),
                                 *at_row(trace.mlp_inverse, at), dim, at_row(of_slots, i));
        run.gru_gradient(at_row(of_slots, i), at_row(trace.gates, at), at_row(trace.hidden_gates, row) + 2 * dim,
                         at_row(trace.slots, row), dim, at_row(gate_inputs, i), at_row(hidden_gates, i),
                         at_row(before, i));
      });
      const Tensor updates = of_updates.narrow(0, t * each, each);
      input_gates(gate_inputs, updates);
      const Tensor gathered = buffer({each, dim});
      value(updates, gathered);
      const Tensor on_tokens = place(of_on_tokens, t), offsets = place(of_offsets, t);
      over(batch, [&](int64_t sample) {
        const int64_t row = sample * count, at = t * each + row;
        const float* x = trace.tokens.const_data_ptr<float>() + sample * tokens * dim;
        float* attended = coefficients.mutable_data_ptr<float>() + (sample * iterations + t) * 2 * count * tokens;
        float* scored = attended + count * tokens;
        float* of_vectors = vectors.mutable_data_ptr<float>() + (sample * iterations + t) * 2 * count * dim;
        const float* attention = trace.attention.const_data_ptr<float>() + at * tokens;
        const float* shares = trace.shares.const_data_ptr<float>() + at * tokens;
        const std::array<float, kMostSlots> zeros{};
        // dÂ into `attended` for now.
        run.logits(at_row(gathered, row), dim, x, count, tokens, dim, 1, zeros.data(), attended);
        if (last) {
          const float* outer = of_attention.const_data_ptr<float>() + row * tokens;
          for (int64_t i = 0; i < count * tokens; ++i) attended[i] += outer[i];
        }
        run.attention_gradient(attended, attention, shares, at_row(trace.totals, at), count, tokens, scale, scored,
                               at_row(offsets, row));
        run.gather(scored, x, count, tokens, dim, at_row(on_tokens, row), dim);
        std::copy_n(attention, count * tokens, attended);
        std::copy_n(at_row(gathered, row), count * dim, of_vectors);
        std::copy_n(at_row(trace.on_tokens, rows.row(t, row)), count * dim, of_vectors + count * dim);
      });
      placed(on_tokens, of_on_tokens, t);
      placed(offsets, of_offsets, t);
      placed(hidden_gates, of_state, t);
      const Tensor of_query = rows.of(of_queries, t);
      key(rows.of(of_on_tokens, t), of_query);
      of_query.addr_(rows.of(of_offsets, t).squeeze(1), w.key_bias());
      if (last) of_query.add_(compacted(gradients[1].reshape({each, dim}), t));
      const Tensor affine = rows.of(of_affine, t);
      query(of_query, affine);
      of_slots = buffer({rows.count(t), dim});
      state_gates(rows.of(of_state, t), of_slots);
      of_slots.add_(compacted(before, t));
      over(rows.count(t), [&](int64_t i) {
        const int64_t row = rows.first(t) + i;
        run.standardize_gradient(at_row(affine, i), w.slot_norm().const_data_ptr<float>(), at_row(trace.normed, row),
                                 *at_row(trace.inverse, row), dim, at_row(of_slots, i));
      });
    }

    variable_list result{at::bmm(coefficients.transpose(1, 2), vectors), of_slots};
    const auto linear = [&](const Tensor& of, const Tensor& from) {
      result.push_back(transposed_product(of, from, bfloat16));
      result.push_back(of.sum(0));
    };
    linear(of_queries, trace.affine);
    result.push_back(transposed_product(trace.queries, of_on_tokens, bfloat16));
    result.push_back(at::mv(trace.queries.t(), of_offsets.squeeze(1)));
    linear(of_updates, trace.gathered);
    linear(of_input, trace.updates);
    linear(of_state, trace.slots);
    linear(of_first, trace.mlp_affine);
    linear(of_second, trace.hidden);
    result.push_back((of_affine * trace.normed).sum(0));
    result.push_back(of_affine.sum(0));
    result.push_back((of_mlp_affine * trace.mlp_normed).sum(0));
    result.push_back(of_mlp_affine.sum(0));
    result.emplace_back();  // iterations
    result.emplace_back();  // bfloat16
    return result;
  }
};

}  // namespace

SlotAttentionResult fused_iterations(const Tensor& tokens, const Tensor& initial, const SlotAttentionWeights& weights,
                                     int64_t iterations, bool bfloat16) {
  if (const auto* const own = kernels::kernels_of(tokens.device())) {
    return own->slot_attention(tokens, initial, weights, iterations, bfloat16, /*joined=*/nullptr);
  }
  std::vector<Tensor> list;
  for (const Linear* each : {&weights.query, &weights.key, &weights.value, &weights.input_gates, &weights.hidden_gates,
                             &weights.first, &weights.second, &weights.slot_norm, &weights.mlp_norm}) {
    list.push_back(each->weight);
    list.push_back(each->bias);
  }
  const variable_list results =
      SlotAttentionFunction::apply(tokens, initial, at::TensorList(list), iterations, bfloat16);
  return {results[0], results[1], results[2]};
}

}  // namespace soundspot::slot_attention
