// Random numbers for augmentation: the same on every platform, one small generator a call, nothing shared.
#pragma once

#include <cstdint>

namespace soundspot::signal {

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
///
/// The standard library's distributions differ between compilers; these do not, so a seed names one
/// augmentation everywhere. An object belongs to one thread.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  /// 64 uniform bits.
  uint64_t bits() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  /// Uniform in [0, 1), a multiple of 2^-53.
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }

  /// Uniform in [low, high).
  double uniform(double low, double high) { return low + (high - low) * uniform(); }

  /// Uniform in 0, …, n − 1 without bias; n ≥ 1.
  int64_t integer(int64_t n) {
    const auto range = static_cast<uint64_t>(n);
    const uint64_t rejected = (0 - range) % range;  // 2^64 mod n: the lowest values, which would come once too often
    uint64_t drawn = bits();
    while (drawn < rejected) drawn = bits();
    return static_cast<int64_t>(drawn % range);
  }

  /// True with the given probability in [0, 1].
  bool chance(double probability) { return uniform() < probability; }

 private:
  uint64_t state_;
};

}  // namespace soundspot::signal
