// The gradients' norm and the optimizers' step on tensors, over a launcher: Device (functions.cu) or Host (tests).
#pragma once

#include <cmath>

#include "kernels/cuda/adam.h"
#include "kernels/cuda/tensors.h"
#include "kernels/device.h"

namespace soundspot::kernels::cuda {

/// Whether the elements of both lie in the same order. The stride of a dimension with one place says nothing of it:
/// a weight [64, 1, 7, 7] and its moments from a checkpoint differ there.
inline bool same_order(const Tensor& a, const Tensor& b) {
  if (a.sizes() != b.sizes()) return false;
  for (int64_t i = 0; i < a.dim(); ++i) {
    if (a.size(i) > 1 && a.stride(i) != b.stride(i)) return false;
  }
  return true;
}

/// The tensors by launches. All tensors of one parameter have its order of elements, dense, float32.
inline std::vector<AdamTensors> adam_launches(const AdamState& state) {
  std::vector<AdamTensors> launches;
  for (size_t i = 0; i < state.gradients.size(); ++i) {
    const Tensor& gradient = state.gradients[i];
    if (gradient.numel() == 0) continue;
    if (launches.empty() || launches.back().count == AdamTensors::kMost) launches.emplace_back();
    AdamTensors& own = launches.back();
    const auto of = [&](const std::vector<Tensor>& list) { return list.empty() ? Tensor() : list[i]; };
    const Tensor value = of(state.values), mean = of(state.means), square = of(state.squares), step = of(state.steps);
    for (const Tensor& each : {gradient, value, mean, square}) {
      TORCH_CHECK(!each.defined() || (each.scalar_type() == at::kFloat && same_order(each, gradient) &&
                                      each.is_non_overlapping_and_dense()),
                  "dense float32 tensors in the parameter's order of elements were expected");
    }
    own.all[own.count++] = {write<float>(value),
                            write<float>(mean),
                            write<float>(square),
                            write<float>(step),
                            read<float>(gradient),
                            gradient.numel(),
                            own.blocks,
                            packs(gradient.numel(), {gradient, value, mean, square})};
    own.blocks += divided_up(gradient.numel(), AdamTensors::kChunk);
  }
  return launches;
}

template <class Launcher>
GradientNorm gradient_norm_by(const std::vector<Tensor>& gradients, double clip, const Tensor& losses) {
  TORCH_CHECK(!gradients.empty(), "no gradient to take the norm of");
  const Launcher run(gradients.front());
  const std::vector<AdamTensors> launches = adam_launches({{}, gradients, {}, {}, {}});
  int64_t blocks = 0;
  for (const AdamTensors& each : launches) blocks += each.blocks;
  const auto options = gradients.front().options().requires_grad(false);
  const Tensor partial = at::empty({blocks}, options.dtype(at::kDouble));
  int64_t first = 0;
  for (const AdamTensors& each : launches) {
    run.launch({each.blocks, 1, SquaredNorm::kShared}, SquaredNorm{each, write<double>(partial) + first});
    first += each.blocks;
  }
  const GradientNorm result{at::empty({1}, options.dtype(at::kDouble)), at::empty({}, options),
                            at::empty({}, options.dtype(at::kBool))};
  run.launch({1, 1, JoinNorm::kShared},
             JoinNorm{read<double>(partial), blocks, read<float>(losses), clip, write<double>(result.norm),
                      write<float>(result.divisor), write<bool>(result.finite)});
  return result;
}

template <class Launcher>
void adam_step_by(const AdamState& state, const AdamNumbers& numbers, const Tensor& learning_rate, const Tensor& taken,
                  const Tensor& divisor) {
  if (state.gradients.empty()) return;
  const Launcher run(state.gradients.front());
  for (const AdamTensors& each : adam_launches(state)) {
    run.launch({1}, CountSteps{each, read<bool>(taken)});
    run.launch(
        {each.blocks, 1, AdamUpdate::kShared},
        AdamUpdate{each, read<bool>(taken), read<float>(divisor), read<float>(learning_rate), std::log(numbers.beta1),
                   std::log(numbers.beta2), static_cast<float>(numbers.beta1), static_cast<float>(numbers.beta2),
                   static_cast<float>(1 - numbers.beta1), static_cast<float>(1 - numbers.beta2),
                   static_cast<float>(numbers.epsilon), static_cast<float>(numbers.weight_decay), numbers.coupled});
  }
}

}  // namespace soundspot::kernels::cuda
