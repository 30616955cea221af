// Batch norm + residual + ReLU on tensors, with its backward, over a launcher: Device (functions.cu) or Host (tests).
#pragma once

#include "kernels/cuda/batch_norm.h"
#include "kernels/cuda/tensors.h"
#include "kernels/normalization.h"
#include "kernels/rows.h"

namespace soundspot::kernels::cuda {

template <class Launcher>
class BatchNormFunction : public torch::autograd::Function<BatchNormFunction<Launcher>> {
  using Context = torch::autograd::AutogradContext;
  using List = torch::autograd::variable_list;

 public:
  static Tensor forward(Context* context, const Tensor& input, const Tensor& weight, const Tensor& bias,
                        const Tensor& running_mean, const Tensor& running_var, const std::optional<Tensor>& residual,
                        bool relu, bool fixed, double momentum, double epsilon,
                        const distributed::PeersPointer& peers) {
    const Launcher run(input);
    const Tensor x = channels_last(input), added = residual ? channels_last(residual->to(x.scalar_type())) : Tensor();
    const int64_t channels = x.size(1), rows = x.numel() / std::max<int64_t>(channels, 1);
    TORCH_CHECK(fixed || rows > 0, "statistics of no values");
    const auto options = weight.options().dtype(at::kFloat).requires_grad(false);
    const auto vector = [&] { return at::empty({channels}, options); };
    const Tensor mean = vector(), inverse = vector(), scale = vector(), shift = vector(), y = at::empty_like(x);
    Tensor square, count;
    with_packs(x, channels, {added, y}, [&](auto type, auto width) {
      using Number = decltype(type);
      constexpr int kWidth = decltype(width)::value;
      const RowTiles tiles = RowTiles::of(rows, channels, kWidth);
      if (!fixed) {
        const Tensor partial = at::empty({2, tiles.chunks(), channels}, options);
        const Tensor means = partial[0], squares = partial[1];
        const BatchMoments<Number, kWidth> moments{tiles, read<Number>(x), write<float>(means), write<float>(squares)};
        run.launch(tiles.grid(kWidth, moments.kShared), moments);
        square = vector();
        count = at::empty({1}, options);
        run.launch(ChunkLanes::grid(channels),
                   JoinMoments{read<float>(means), read<float>(squares), nullptr, channels, tiles.chunks(), rows,
                               tiles.chunk, write<float>(mean), write<float>(square), write<float>(count)});
        if (peers) {
          const Tensor own = at::stack({mean, square, count.expand({channels})}).unsqueeze(0);
          const Tensor all = peers->gather(own).transpose(0, 1).contiguous();  // [3, ranks, C]
          const Tensor of_ranks = all[2].select(1, 0).contiguous();
          run.launch(ChunkLanes::grid(channels),
                     JoinMoments{read<float>(all), read<float>(all[1]), read<float>(of_ranks), channels, all.size(1), 0,
                                 0, write<float>(mean), write<float>(square), write<float>(count)});
        }
      }
      const BatchFactors factors{channels,
                                 read<float>(weight),
                                 read<float>(bias),
                                 write<float>(running_mean),
                                 write<float>(running_var),
                                 read<float>(square),
                                 read<float>(count),
                                 static_cast<float>(momentum),
                                 static_cast<float>(epsilon),
                                 write<float>(mean),
                                 write<float>(inverse),
                                 write<float>(scale),
                                 write<float>(shift)};
      run.launch(factors.grid(), factors);
      run.launch(tiles.grid(kWidth),
                 BatchNormalize<Number, kWidth>{tiles, read<Number>(x), read<Number>(added), read<float>(scale),
                                                read<float>(shift), relu, write<Number>(y)});
    });
    context->save_for_backward({x, weight, mean, inverse, relu ? y : Tensor(), count});
    context->saved_data["residual"] = residual.has_value();
    if (peers) context->saved_data["peers"] = c10::IValue::make_capsule(peers);
    return y;
  }

  static List backward(Context* context, const List& gradients) {
    const List saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &mean = saved[2], &inverse = saved[3], &y = saved[4],
                 &count = saved[5];
    const Launcher run(x);
    const Tensor gradient = channels_last(gradients[0].to(x.scalar_type()));
    const int64_t channels = x.size(1), rows = x.numel() / std::max<int64_t>(channels, 1);
    const Tensor dx = at::empty_like(x),
                 passed = context->saved_data["residual"].toBool() ? at::empty_like(x) : Tensor(),
                 totals = at::empty({2, channels}, mean.options()), of_weight = at::empty_like(mean),
                 of_bias = at::empty_like(mean);
    const auto peers = context->saved_data.find("peers");
    with_packs(x, channels, {gradient, y, dx, passed}, [&](auto type, auto width) {
      using Number = decltype(type);
      constexpr int kWidth = decltype(width)::value;
      const RowTiles tiles = RowTiles::of(rows, channels, kWidth);
      const Tensor partial = at::empty({2, tiles.chunks(), channels}, mean.options());
      const BatchGradientSums<Number, kWidth> sums{tiles,
                                                   read<Number>(x),
                                                   read<Number>(gradient),
                                                   read<Number>(y),
                                                   read<float>(mean),
                                                   write<float>(partial[0]),
                                                   write<float>(partial[1])};
      run.launch(tiles.grid(kWidth, sums.kShared), sums);
      run.launch(
          ChunkLanes::grid(channels),
          JoinGradientSums{read<float>(partial[0]), read<float>(partial[1]), channels, tiles.chunks(),
                           read<float>(inverse), write<float>(totals), write<float>(of_weight), write<float>(of_bias)});
      if (count.defined() && peers != context->saved_data.end()) {
        c10::static_intrusive_pointer_cast<distributed::Peers>(peers->second.toCapsule())->sum(totals);
      }
      run.launch(tiles.grid(kWidth),
                 BatchGradient<Number, kWidth>{tiles, read<Number>(x), read<Number>(gradient), read<Number>(y),
                                               read<float>(mean), read<float>(inverse), read<float>(weight),
                                               count.defined() ? read<float>(totals) : nullptr, read<float>(count),
                                               write<Number>(dx), write<Number>(passed)});
    });
    return {dx, of_weight, of_bias, {}, {}, passed, {}, {}, {}, {}, {}};
  }
};

/// relu(batch_norm(x) + residual), as kernels::batch_norm has it. With `fixed` by the running statistics, which stay.
template <class Launcher>
Tensor batch_norm_by(const Tensor& x, const BatchNorm& norm, const Tensor& residual, bool relu, bool fixed) {
  const std::optional<Tensor> added = residual.defined() ? std::optional(residual) : std::nullopt;
  return BatchNormFunction<Launcher>::apply(x, norm.weight, norm.bias, norm.running_mean, norm.running_var, added, relu,
                                            fixed, norm.momentum, norm.epsilon, norm.peers);
}

}  // namespace soundspot::kernels::cuda
