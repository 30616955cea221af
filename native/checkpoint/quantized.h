// Quantized models in files: int8 weights, and beside each its scales and one step of its convolution's input.
#pragma once

#include "checkpoint/state.h"
#include "core/quantization.h"

namespace soundspot::checkpoint {

/// In the metadata of a file of a quantized model: "int8".
inline constexpr const char* kQuantizationKey = "soundspot.quantization";

/// Replaces the weights of quantized convolutions, whose own values are not looked at, by the int8 ones;
/// "imgnet.layer1.0.conv1.weight" gets "…conv1.weight_scale" [out] and "…conv1.input_scale" [] beside it.
void put_quantization(State& state, const core::Quantization& quantization);

/// The opposite: takes the int8 weights and their scales out. In the place of each weight stays a tensor without memory
/// that has its shape. None where the file is not of a quantized model.
/// @throws FormatError when scales are missing, of another shape, or not finite and positive.
std::optional<core::Quantization> take_quantization(State& state);

}  // namespace soundspot::checkpoint
