#include "verify/reference.h"

#include <cmath>

namespace soundspot::verify::reference {

Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& mean, const Tensor& variance,
                  const Tensor& residual, bool relu, bool fixed) {
  Tensor y = at::batch_norm(x, weight, bias, mean, variance, !fixed, kMomentum, kEpsilon, /*cudnn_enabled=*/true);
  if (residual.defined()) y = y + residual;
  return relu ? y.relu() : y;
}

Tensor attention(const Tensor& queries, const Tensor& keys, double sharpening) {
  const double scale = sharpening / std::sqrt(static_cast<double>(queries.size(2)));
  const Tensor shares = at::softmax(at::matmul(queries, keys.transpose(1, 2)) * scale, 1) + 1e-8;
  return shares / shares.sum(2, /*keepdim=*/true);
}

SlotAttention slot_attention(const Tensor& tokens, const Tensor& initial, const kernels::SlotAttentionWeights& weights,
                             int64_t iterations, bool watch_edge) {
  const int64_t dim = tokens.size(2);
  const auto linear = [](const Tensor& x, const kernels::Linear& of) { return at::linear(x, of.weight, of.bias); };
  const auto norm = [&](const Tensor& x, const kernels::Linear& of) {
    return at::layer_norm(x, {dim}, of.weight, of.bias, kEpsilon);
  };
  const Tensor keys = linear(tokens, weights.key), values = linear(tokens, weights.value);
  SlotAttention result{initial.expand({tokens.size(0), initial.size(0), dim}), {}, {}, INFINITY};
  Tensor& slots = result.slots;
  for (int64_t t = 0; t < iterations; ++t) {
    result.queries = linear(norm(slots, weights.slot_norm), weights.query);
    result.attention = attention(result.queries, keys);
    const Tensor updates = at::matmul(result.attention, values);
    const std::vector<Tensor> in = linear(updates, weights.input_gates).chunk(3, 2),
                              own = linear(slots, weights.hidden_gates).chunk(3, 2);
    const Tensor reset = at::sigmoid(in[0] + own[0]), update = at::sigmoid(in[1] + own[1]),
                 fresh = at::tanh(in[2] + reset * own[2]);
    slots = fresh + update * (slots - fresh);
    const Tensor hidden = linear(norm(slots, weights.mlp_norm), weights.first);
    if (watch_edge) result.closest = std::min(result.closest, hidden.detach().abs().min().item<double>());
    slots = slots + linear(hidden.relu(), weights.second);
  }
  return result;
}

Tensor matching(const Tensor& audio_on_image, const Tensor& image_on_image, const Tensor& image_on_audio,
                const Tensor& audio_on_audio, int64_t targets) {
  const auto rows = [&](const Tensor& of) { return of.narrow(1, 0, targets); };
  return at::mse_loss(rows(audio_on_image), rows(image_on_image).detach()) +
         at::mse_loss(rows(image_on_audio), rows(audio_on_audio).detach());
}

Tensor heatmap(const Tensor& target_rows, int64_t side, int64_t height, int64_t width, const kernels::MapResize& resize,
               const std::optional<std::pair<double, double>>& range) {
  const Tensor grid = target_rows.reshape({target_rows.size(0), target_rows.size(1), side, side});
  Tensor maps = resize.bicubic ? at::upsample_bicubic2d(grid, {height, width}, resize.corners)
                               : at::upsample_bilinear2d(grid, {height, width}, resize.corners);
  if (range) {
    maps = (maps - range->first) / (range->second - range->first);
  } else {
    // A map that is constant but for rounding stays as it is.
    const Tensor low = at::amin(maps, {2, 3}, true), high = at::amax(maps, {2, 3}, true), length = high - low,
                 varies = length > 1e-6 * at::maximum(high.abs(), low.abs());
    maps = (maps - at::where(varies, low, at::zeros_like(low))) / at::where(varies, length, at::ones_like(length));
  }
  return at::amax(maps, 1);
}

}  // namespace soundspot::verify::reference
