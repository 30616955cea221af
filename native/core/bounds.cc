#include "core/bounds.h"

#include <atomic>
#include <bit>
#include <cstdint>

#include "core/error.h"

namespace soundspot::core {

namespace {

constexpr int64_t kAtATime = 65536;

/// Bits without their sign order as magnitudes do, infinities and NaN above all others.
template <class Bits>
bool within(const Bits* values, int64_t count, Bits most) {
  constexpr Bits kMagnitude = static_cast<Bits>(~Bits{0}) >> 1;
  std::atomic<bool> all{true};
  at::parallel_for(0, count, kAtATime, [&](int64_t begin, int64_t end) {
    Bits found = 0;
    for (int64_t i = begin; i < end; ++i) {
      found |= static_cast<Bits>(static_cast<Bits>(values[i] & kMagnitude) > most);
    }
    if (found != 0) all = false;
  });
  return all;
}

}  // namespace

void check_weights(const Tensor& weight, const Tensor& bias, double most, const std::string& name) {
  // In the memory order of convolutions, so that it is read where it lies.
  const Tensor values = weight.dim() == 4 ? weight.detach().permute({0, 2, 3, 1}) : weight.detach();
  Tensor sums = at::linalg_vector_norm(values.flatten(1), /*ord=*/1, /*dim=*/1, /*keepdim=*/false, at::kDouble);
  if (bias.defined()) sums = sums + bias.detach().abs();
  // A maximum with NaN is NaN, and every comparison with it is false.
  if (sums.max().item<double>() <= most) return;
  throw Error("ERR_INTERNAL", "The weights of " + name +
                                  " are not finite, or too large to compute with. Take an earlier checkpoint of its "
                                  "training.");
}

bool within_bounds(const Tensor& x, float most) {
  const auto bits = std::bit_cast<uint32_t>(most);
  if (x.scalar_type() == at::kBFloat16) {
    return within(static_cast<const uint16_t*>(x.const_data_ptr()), x.numel(), static_cast<uint16_t>(bits >> 16));
  }
  return within(static_cast<const uint32_t*>(x.const_data_ptr()), x.numel(), bits);
}

void check_activations(const Tensor& x, const std::string& name) {
  if (within_bounds(x, kMostOfActivation)) return;
  throw Error("ERR_INTERNAL", "The output of " + name +
                                  " is too large to compute with: its weights are. Take an earlier checkpoint of its "
                                  "training.");
}

}  // namespace soundspot::core
