// Attention of one modality's queries on the other's tokens, and the loss matching, on tensors with their backward,
// over a launcher: Device (functions.cu) or Host (tests).
#pragma once

#include "kernels/cuda/matching.h"
#include "kernels/cuda/slot_attention_function.h"

namespace soundspot::kernels::cuda {

template <class Launcher>
class CrossAttentionFunction : public torch::autograd::Function<CrossAttentionFunction<Launcher>> {
  using Context = torch::autograd::AutogradContext;
  using List = torch::autograd::variable_list;

 public:
  static Tensor forward(Context* context, const Tensor& queries, const Tensor& input, const Tensor& weight,
                        const Tensor& bias, bool bfloat16, double sharpening) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const Launcher run(input);
    const int64_t batch = queries.size(0), slots = queries.size(1), dim = queries.size(2), tokens = input.size(1);
    const float scale = attention_scale(dim) * static_cast<float>(sharpening);
    const Tensor x = input.contiguous(), q = queries.reshape({batch * slots, dim}).contiguous();
    const Tensor on_tokens = CudaFactor(weight, {}, bfloat16)(q);  // W_kᵀ q
    const Tensor offsets = at::mv(q, bias);                        // q·b_k
    const Tensor attention = at::empty({batch, slots, tokens}, q.options().requires_grad(false)),
                 shares = at::empty_like(attention), totals = at::empty_like(offsets);
    with_attention(x, slots, [&](auto number, auto width, auto at_once) {
      using Kernel = Attend<decltype(number), decltype(width)::value, decltype(at_once)::value>;
      run.launch({batch, 1, Kernel::kShared}, Kernel{{slots, tokens, dim},
                                                     scale,
                                                     read<float>(on_tokens),
                                                     read<float>(offsets),
                                                     read<decltype(number)>(x),
                                                     write<float>(attention),
                                                     write<float>(shares),
                                                     write<float>(totals),
                                                     nullptr});
    });
    context->save_for_backward({q, x, weight, bias, on_tokens, attention, shares, totals});
    context->saved_data["bfloat16"] = bfloat16;
    context->saved_data["scale"] = static_cast<double>(scale);
    return attention;
  }

  static List backward(Context* context, const List& gradients) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const List saved = context->get_saved_variables();
    const Tensor &q = saved[0], &x = saved[1], &weight = saved[2], &bias = saved[3], &on_tokens = saved[4],
                 &attention = saved[5], &shares = saved[6], &totals = saved[7];
    const bool bfloat16 = context->saved_data["bfloat16"].toBool();
    const auto scale = static_cast<float>(context->saved_data["scale"].toDouble());
    const Launcher run(x);
    const int64_t batch = attention.size(0), slots = attention.size(1), tokens = attention.size(2), dim = q.size(1);
    const Tensor gradient = gradients[0].contiguous(), of_logits = at::empty_like(attention),
                 of_on_tokens = at::empty_like(on_tokens), of_offsets = at::empty_like(totals);
    with_attention(x, slots, [&](auto number, auto width, auto at_once) {
      using Kernel = AttendGradient<decltype(number), decltype(width)::value, decltype(at_once)::value>;
      run.launch({batch, 1, Kernel::kShared}, Kernel{{slots, tokens, dim},
                                                     scale,
                                                     nullptr,
                                                     read<float>(gradient),
                                                     read<float>(attention),
                                                     read<float>(shares),
                                                     read<float>(totals),
                                                     read<float>(on_tokens),
                                                     read<decltype(number)>(x),
                                                     write<float>(of_on_tokens),
                                                     write<float>(of_offsets),
                                                     write<float>(of_logits),
                                                     slots * tokens,
                                                     nullptr,
                                                     nullptr,
                                                     0});
    });
    const Tensor of_queries = CudaFactor(weight.t(), {}, bfloat16)(of_on_tokens);
    Tensor(of_queries).addr_(of_offsets, bias);
    const Tensor of_tokens = at::bmm(of_logits.transpose(1, 2), on_tokens.view({batch, slots, dim}));
    return {of_queries.view({batch, slots, dim}),
            of_tokens.to(x.scalar_type()),
            weight_gradient(q, of_on_tokens, bfloat16),
            at::mv(q.t(), of_offsets),
            {},
            {}};
  }
};

template <class Launcher>
class MatchingFunction : public torch::autograd::Function<MatchingFunction<Launcher>> {
  using Context = torch::autograd::AutogradContext;
  using List = torch::autograd::variable_list;

 public:
  static Tensor forward(Context* context, const Tensor& audio_on_image, const Tensor& image_on_image,
                        const Tensor& image_on_audio, const Tensor& audio_on_audio, int64_t targets) {
    const Launcher run(audio_on_image);
    const List all{audio_on_image.contiguous(), image_on_image.contiguous(), image_on_audio.contiguous(),
                   audio_on_audio.contiguous()};
    const Tensor loss = at::empty({}, audio_on_image.options().requires_grad(false));
    run.launch({1, 1, MatchingLoss::kShared},
               MatchingLoss{{pair(all[0], all[1], targets), pair(all[2], all[3], targets)}, write<float>(loss)});
    context->save_for_backward(all);
    context->saved_data["targets"] = targets;
    return loss;
  }

  static List backward(Context* context, const List& gradients) {
    const List all = context->get_saved_variables();
    const int64_t targets = context->saved_data["targets"].toInt();
    const Launcher run(all[0]);
    const Tensor gradient = gradients[0].contiguous(), of_image = at::empty_like(all[0]),
                 of_audio = at::empty_like(all[2]);
    const MatchingGradient kernel{{pair(all[0], all[1], targets), pair(all[2], all[3], targets)},
                                  read<float>(gradient),
                                  {write<float>(of_image), write<float>(of_audio)}};
    run.launch(kernel.grid(), kernel);
    return {of_image, {}, of_audio, {}, {}};
  }

 private:
  static MatchedPair pair(const Tensor& own, const Tensor& other, int64_t targets) {
    return {read<float>(own), read<float>(other), own.size(0), own.size(1), own.size(2), targets};
  }
};

template <class Launcher>
Tensor cross_attention_by(const Tensor& queries, const Tensor& tokens, const Linear& key, bool bfloat16,
                          double sharpening) {
  return CrossAttentionFunction<Launcher>::apply(queries, tokens, key.weight, key.bias, bfloat16, sharpening);
}

template <class Launcher>
Tensor matching_by(const Tensor& audio_on_image, const Tensor& image_on_image, const Tensor& image_on_audio,
                   const Tensor& audio_on_audio, int64_t targets) {
  return MatchingFunction<Launcher>::apply(audio_on_image, image_on_image.detach(), image_on_audio,
                                           audio_on_audio.detach(), targets);
}

}  // namespace soundspot::kernels::cuda
