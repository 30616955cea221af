#include "core/quantization.h"

#include <bit>
#include <cmath>

namespace soundspot::core {

namespace {

/// Channels whose weights are all smaller are 0: their steps would have less precision than a float32's.
constexpr float kLeastMagnitude = 1e-30F;

/// The next number of 17 bits of mantissa that is not less: its product with a value of 7 bits is exact.
float rounded_up(float x) {
  constexpr uint32_t kDropped = 0x7F;
  return std::bit_cast<float>((std::bit_cast<uint32_t>(x) + kDropped) & ~kDropped);
}

Tensor per_channel(const Tensor& scales, const Tensor& weight) {
  std::vector<int64_t> sizes(static_cast<size_t>(weight.dim()), 1);
  sizes[0] = -1;
  return scales.view(sizes);
}

}  // namespace

QuantizedWeight quantized(const Tensor& weight, int64_t levels) {
  const Tensor magnitudes = at::amax(weight.flatten(1).abs(), 1).contiguous(), scales = at::ones_like(magnitudes);
  const auto* const from = magnitudes.const_data_ptr<float>();
  auto* const to = scales.mutable_data_ptr<float>();
  const Tensor used = magnitudes >= kLeastMagnitude;
  for (int64_t i = 0; i < magnitudes.numel(); ++i) {
    if (from[i] >= kLeastMagnitude) to[i] = rounded_up(from[i] / static_cast<float>(levels));
  }
  const auto most = static_cast<double>(levels);
  const Tensor steps = at::round(weight / per_channel(scales, weight)).clamp_(-most, most);
  return {(steps * per_channel(used, weight)).to(at::kChar), scales};
}

Tensor HeldValues::dense() const {
  const std::lock_guard lock(held_->mutex);
  return held_->values.is_mkldnn() ? held_->values.to_dense() : held_->values;
}

Tensor HeldValues::packed(const std::function<Tensor(const Tensor& dense)>& pack) const {
  const std::lock_guard lock(held_->mutex);
  if (!held_->values.is_mkldnn()) held_->values = pack(held_->values);
  return held_->values;
}

Tensor dequantized(const QuantizedWeight& weight) {
  return weight.values.to(at::kFloat) * per_channel(weight.scales, weight.values);
}

}  // namespace soundspot::core
