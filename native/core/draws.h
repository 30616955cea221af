// Random numbers as a function of where they are used: (seed, step, sample, place). They are the same on every device,
// and however a batch is cut into parts or shared out to processes.
#pragma once

#include "core/torch.h"

namespace soundspot::core {

/// Which samples of a larger batch these are.
struct Share {
  int64_t first = 0, total = 0;  // total 0: they are the whole batch
};

/// The purpose of a draw; each has its own numbers.
enum class Place : uint32_t { kImageMask = 1, kAudioMask = 2, kImageDropout = 3, kTransform = 4, kAudioDropout = 5 };

/// The same purpose once more, with other numbers. `times` is from 0.
constexpr Place repeated(Place place, int64_t times) {
  return static_cast<Place>(static_cast<uint32_t>(place) + 16 * static_cast<uint32_t>(times));
}

class KeptDraws;

/// Draws of one training step.
class Draws {
 public:
  Draws(uint64_t seed, uint64_t step) : seed_(seed), step_(step) {}

  /// The same, in tensors of `kept`, which outlives it.
  Draws kept_by(KeptDraws& kept) const {
    Draws own = *this;
    own.kept_ = &kept;
    return own;
  }

  /// Uniform in [0, 1), a multiple of 2^-24: [count, each] for samples share.first … share.first + count − 1, on
  /// `device`. Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), counter (element
  /// / 4, sample, step, place), key seed.
  Tensor uniform(Place place, const Share& share, int64_t count, int64_t each, at::Device device) const;

  /// The same numbers of one sample of the whole batch, on the host.
  std::vector<float> numbers(Place place, int64_t sample, int64_t each) const;

 private:
  friend class KeptDraws;
  void fill(Place place, int64_t sample, float* row, int64_t each) const;
  /// On the host, in memory from which copies to `device` are fast.
  Tensor drawn(Place place, const Share& share, int64_t count, int64_t each, at::Device device) const;

  uint64_t seed_, step_;
  KeptDraws* kept_ = nullptr;
};

/// The draws of a step that a device repeats: their tensors stay where they are, and get the numbers of each step.
class KeptDraws {
 public:
  /// Before each run of the step, which asks for the same draws in the same order.
  void begin() { next_ = 0; }

  /// The numbers of a step, into the tensors. The host does not wait.
  void renew(const Draws& draws);

  /// Whether a run asked for numbers on the host: what it did with them is not repeated.
  bool on_host() const { return on_host_; }

 private:
  friend class Draws;
  struct Kept {
    Place place;
    Share share;
    Tensor values;
  };

  Tensor take(const Draws& draws, Place place, const Share& share, int64_t count, int64_t each, at::Device device);

  std::vector<Kept> all_;
  size_t next_ = 0;
  bool on_host_ = false;
};

}  // namespace soundspot::core
