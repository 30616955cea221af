// Sizes of weights and activations under which no sum of products of a pass leaves float32. Where one did, a ReLU or a
// maximum behind it would hide that, and a map of numbers would come out that mean nothing.
#pragma once

#include <string>

#include "core/torch.h"

namespace soundspot::core {

/// Of an image or a spectrogram, which are some tens at most where a model can have learned from them: |x| at most.
inline constexpr float kMostOfInput = 1e6F;

/// Of what goes into a block of the encoders, comes out of them, or is a slot: |x| at most. Two convolutions of
/// kMostOfConvolution make at most 1e33 of it.
inline constexpr float kMostOfActivation = 1e15F;

/// Σ|weight| + |bias| of an output of a convolution, batch norm folded in.
inline constexpr double kMostOfConvolution = 1e9;

/// Σ|weight| of an output of a linear layer of the slot attention; its layer norms keep what goes in small.
inline constexpr double kMostOfLinear = 1e5;

/// @throws Error ERR_INTERNAL with the name when `weight` [out, …] times `factor` [out] and `bias` [out], either of
/// which may be undefined, exceed `most` or are not finite.
void check_weights(const Tensor& weight, const Tensor& factor, const Tensor& bias, double most,
                   const std::string& name);

/// Whether all of `x`, float32 or bfloat16 and dense, are at most `most`; what is not finite is not.
bool within_bounds(const Tensor& x, float most);

/// @throws Error ERR_INTERNAL with the name of what made them, when they exceed kMostOfActivation.
void check_activations(const Tensor& x, const std::string& name);

}  // namespace soundspot::core
