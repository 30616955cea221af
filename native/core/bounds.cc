#include "core/bounds.h"

#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>

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

/// Σ|weight| of each row [out] of a float32 weight [out, …], read where it lies.
Tensor sums_of_magnitudes(const Tensor& weight) {
  constexpr size_t kLanes = 16;
  const bool dense = weight.is_contiguous() || weight.is_contiguous(at::MemoryFormat::ChannelsLast);
  const Tensor values = dense ? weight : weight.contiguous();
  const int64_t rows = values.size(0), each = rows > 0 ? values.numel() / rows : 0;
  const Tensor sums = at::empty({rows}, values.options().dtype(at::kDouble).memory_format(std::nullopt));
  at::parallel_for(0, rows, 1 + kAtATime / (each + 1), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* const of = values.const_data_ptr<float>() + row * each;
      std::array<float, kLanes> lanes{};
      int64_t i = 0;
      for (; i + static_cast<int64_t>(kLanes) <= each; i += kLanes) {
        for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += std::abs(of[i + static_cast<int64_t>(lane)]);
      }
      double sum = std::accumulate(lanes.begin(), lanes.end(), 0.0);
      for (; i < each; ++i) sum += std::abs(of[i]);
      sums.mutable_data_ptr<double>()[row] = sum;
    }
  });
  return sums;
}

}  // namespace

void check_weights(const Tensor& weight, const Tensor& factor, const Tensor& bias, double most,
                   const std::string& name) {
  Tensor sums = sums_of_magnitudes(weight.detach());
  if (factor.defined()) sums = sums * factor.detach().abs();
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
