// Power by frequency and frame: short-time Fourier transforms of the audio window.
#pragma once

#include <cstdint>

#include "core/torch.h"

namespace soundspot::signal {

/// The mean over the channels of |STFT|²: periodic Hann window, frames centred with reflection.
///
/// @param clip `[C, n]` float32, n > window div 2.
/// @return `[window div 2 + 1, (n + 2 · (window div 2) − window) div hop + 1]` float32.
Tensor mean_power(const Tensor& clip, int64_t window, int64_t hop);

/// The same in float64, divided by the window's Σw².
Tensor normalized_power(const Tensor& clip, int64_t window, int64_t hop);

/// The mean over the channels of scipy.signal.spectrogram's power spectral density: frames without padding, each
/// without its mean, periodic Tukey window of shape 0.25, |rfft|² / (rate · Σw²), twice that of frequencies that have
/// a negative counterpart.
///
/// @param clip `[C, n]` float32, n ≥ window ≥ hop.
/// @param rate of the samples in Hz.
/// @return `[window div 2 + 1, (n − window) div hop + 1]` float64.
Tensor spectral_density(const Tensor& clip, int64_t window, int64_t hop, int64_t rate);

}  // namespace soundspot::signal
