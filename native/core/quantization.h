// Post-training quantization to 8 bits: weights per output channel, symmetric; activations per tensor, without sign.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "core/torch.h"

namespace soundspot::core {

/// Greatest magnitude of a quantized weight as files hold it.
inline constexpr int64_t kWeightLevels = 127;

/// The same where two products of bytes are summed in 16 bits, which saturate: 2 · 255 · 64 < 2¹⁵.
inline constexpr int64_t kNarrowWeightLevels = 64;

/// Steps of an activation, which is never negative: 0 … 255.
inline constexpr int64_t kActivationLevels = 255;

/// A weight [out, …] as values · scales.
struct QuantizedWeight {
  Tensor values;  // int8 [out, …]
  Tensor scales;  // float32 [out], positive
};

/// Nearest steps of a float32 weight, the greatest magnitude of each output channel at `levels`. With kWeightLevels it
/// is exact on what `dequantized` gives of its own results: scales have so few bits that their products are exact.
QuantizedWeight quantized(const Tensor& weight, int64_t levels = kWeightLevels);

/// float32 [out, …].
Tensor dequantized(const QuantizedWeight& weight);

/// The int8 values of a convolution's weight, in one form at a time: dense, or packed as a library reads them. Copies
/// share it, on any thread.
class HeldValues {
 public:
  explicit HeldValues(Tensor dense) : held_(std::make_shared<Held>()) { held_->values = std::move(dense); }

  /// [out, in, k, k].
  Tensor dense() const;
  /// What `pack` made of the dense ones at the first call. It is held in their place.
  Tensor packed(const std::function<Tensor(const Tensor& dense)>& pack) const;

 private:
  struct Held {
    std::mutex mutex;
    Tensor values;
  };
  std::shared_ptr<Held> held_;
};

/// A convolution of a quantized model.
struct HeldConvolution {
  HeldValues values;
  Tensor scales;  // of kWeightLevels
  float step;     // of its input

  QuantizedWeight weight() const { return {values.dense(), scales}; }
};

/// The quantized convolutions of a model by name ("imgnet.layer1.0.conv1").
using Quantization = std::map<std::string, HeldConvolution>;

}  // namespace soundspot::core
