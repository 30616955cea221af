// Calibration: the range of every quantized convolution's input over a set of pairs, and the step that fits it best.
#pragma once

#include <array>
#include <map>

#include "inference/cpu/encoder.h"
#include "methods/localizer.h"

namespace soundspot::inference {

/// Counts of magnitudes in bins of one width. The width doubles when a larger magnitude comes, and is a power of 2.
class Histogram {
 public:
  /// `x` float32, dense, without negative numbers.
  void add(const Tensor& x);

  /// The step of 0 … 255 with the least mean square of rounding and clamping errors; 1 where all was 0.
  float best_step() const;

 private:
  static constexpr int64_t kBins = 4096;

  void widen(float most);

  std::array<double, kBins> counts_{};
  float width_ = 0;  // of a bin
};

class Calibration {
 public:
  /// It looks at the weights, also at its end: they must stay as they are.
  explicit Calibration(std::shared_ptr<const methods::Localizer> localizer);

  /// A pass of both encoders in float32. Images [B, 3, size, size] and spectrograms [B, 1, F, T].
  /// @throws Error ERR_SHAPE, ERR_INPUT and ERR_INTERNAL, as Engine::infer.
  void add(const Tensor& images, const Tensor& spectrograms);

  /// A model on the CPU with the calibrated weights at their quantized values, all others as they are.
  /// @throws Error ERR_INPUT when nothing was added.
  std::shared_ptr<methods::Localizer> quantized() const;

 private:
  Calibration(std::shared_ptr<const methods::Localizer> localizer, const core::Parameters& parameters);

  const std::shared_ptr<const methods::Localizer> localizer_;
  const FrozenEncoder image_encoder_, audio_encoder_;
  std::map<std::string, Histogram> histograms_;
};

}  // namespace soundspot::inference
