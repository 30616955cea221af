// Post-training quantization to 8 bits: weights per output channel, symmetric; activations per tensor, without sign.
#pragma once

#include <map>
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

/// A convolution of a quantized model.
struct QuantizedConvolutionWeight {
  QuantizedWeight weight;  // of kWeightLevels, [out, in, k, k]
  float step;              // of its input
};

/// The quantized convolutions of a model by name ("imgnet.layer1.0.conv1").
using Quantization = std::map<std::string, QuantizedConvolutionWeight>;

}  // namespace soundspot::core
