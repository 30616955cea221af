#include "slot_attention/cross_training_cpu.h"

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

class CrossAttentionFunction : public torch::autograd::Function<CrossAttentionFunction> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& queries, const Tensor& input, const Tensor& weight,
                        const Tensor& bias, bool bfloat16) {
    const Kernels& run = kernels();
    const int64_t batch = queries.size(0), count = queries.size(1), dim = queries.size(2), tokens = input.size(1);
    const Tensor x = input.contiguous(), q = queries.reshape({batch * count, dim}).contiguous();
    const Tensor on_tokens = at::empty_like(q);
    Factor(weight, {}, bfloat16, batch * count)(q, on_tokens);  // W_kᵀ q
    const Tensor offsets = at::mv(q, bias);                     // q·b_k
    const Tensor attention = at::empty({batch, count, tokens}, q.options()), shares = at::empty_like(attention),
                 totals = at::empty({batch * count, 1}, q.options());
    over(batch, [&](int64_t sample) {
      const int64_t row = sample * count;
      float* logits = at_row(attention, row);
      run.logits(at_row(on_tokens, row), dim, at_row(x, sample * tokens), count, tokens, dim, scale(dim),
                 offsets.const_data_ptr<float>() + row, logits);
      run.attention(logits, count, tokens, 1, logits, at_row(shares, row), at_row(totals, row));
    });
    context->save_for_backward({q, x, weight, bias, on_tokens, attention, shares, totals});
    context->saved_data["bfloat16"] = bfloat16;
    return attention;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const Kernels& run = kernels();
    const variable_list saved = context->get_saved_variables();
    const Tensor &q = saved[0], &x = saved[1], &weight = saved[2], &bias = saved[3], &on_tokens = saved[4],
                 &attention = saved[5], &shares = saved[6], &totals = saved[7];
    const bool bfloat16 = context->saved_data["bfloat16"].toBool();
    const int64_t batch = attention.size(0), count = attention.size(1), tokens = attention.size(2), dim = q.size(1);
    const Tensor gradient = gradients[0].contiguous();

    const Tensor of_logits = at::empty_like(attention), of_on_tokens = at::empty_like(on_tokens),
                 of_offsets = at::empty_like(totals);
    over(batch, [&](int64_t sample) {
      const int64_t row = sample * count;
      run.attention_gradient(at_row(gradient, row), at_row(attention, row), at_row(shares, row), at_row(totals, row),
                             count, tokens, scale(dim), at_row(of_logits, row), at_row(of_offsets, row));
      run.gather(at_row(of_logits, row), at_row(x, sample * tokens), count, tokens, dim, at_row(of_on_tokens, row),
                 dim);
    });
    const Tensor of_queries = at::empty_like(q);
    Factor(weight.t(), {}, bfloat16, batch * count)(of_on_tokens, of_queries);
    Tensor(of_queries).addr_(of_offsets.squeeze(1), bias);
    const Tensor of_tokens = at::bmm(of_logits.transpose(1, 2), on_tokens.view({batch, count, dim}));
    return {of_queries.view({batch, count, dim}), of_tokens, transposed_product(q, of_on_tokens, bfloat16),
            at::mv(q.t(), of_offsets.squeeze(1)), Tensor()};
  }

 private:
  static float scale(int64_t dim) { return static_cast<float>(1 / std::sqrt(static_cast<double>(dim))); }
};

}  // namespace

Tensor fused_cross_attention(const Tensor& queries, const Tensor& tokens, const Linear& key, bool bfloat16) {
  if (const auto* const own = kernels::kernels_of(tokens.device())) {
    return own->cross_attention(queries, tokens, key, bfloat16, /*sharpening=*/1);
  }
  return CrossAttentionFunction::apply(queries, tokens, key.weight, key.bias, bfloat16);
}

}  // namespace soundspot::slot_attention
