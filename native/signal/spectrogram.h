// From samples to the log spectrogram that the audio encoder sees.
#pragma once

#include <cstdint>

#include "core/torch.h"

namespace soundspot::signal {

/// docs/method.md, "Preprocessing". The defaults are those of the published model, and give `[1, 257, 501]`.
struct SpectrogramOptions {
  int64_t sample_rate = 16000;  ///< Hz
  double seconds = 5;           ///< of the audio window
  int64_t window = 512;         ///< samples of the Hann window, and of the transform
  int64_t hop = 160;            ///< samples between frames
  double log_offset = 1e-7;     ///< added to the power before the logarithm
  double scale = 12;            ///< divides the logarithm
};

/// The middle `length` samples, from (n − length) div 2; a shorter clip is repeated from its start and cut.
///
/// @param samples `[C, n]` float32, n ≥ 1.
/// @return `[C, length]`; a view of the samples when nothing is repeated.
/// @throws Error ERR_AUDIO_EMPTY, ERR_SHAPE, or ERR_INPUT when length < 1.
Tensor fit_length(const Tensor& samples, int64_t length);

/// log(power + log_offset) / scale of the fitted clip: periodic Hann window, frames centred with reflection,
/// one-sided, power the mean of |STFT|² over the channels.
///
/// The fit is that of the whole resampled clip, but only the samples inside it are made.
///
/// @param samples `[C, n]` float32, in [−1, 1], C ≥ 1, n ≥ 1.
/// @param rate of the samples in Hz, 1 … 768,000.
/// @return `[1, window div 2 + 1, seconds · sample_rate div hop + 1]` float32, contiguous, finite.
/// @throws Error ERR_AUDIO_EMPTY, ERR_AUDIO_NOT_FINITE (a sample is NaN or infinite, or so large that its power
/// is), ERR_INPUT (rate), ERR_SHAPE (samples), ERR_CONFIG (options).
Tensor log_spectrogram(const Tensor& samples, int64_t rate, const SpectrogramOptions& options);

}  // namespace soundspot::signal
