// From samples to the spectrogram that the audio encoder sees.
#pragma once

#include <cstdint>
#include <optional>

#include "core/torch.h"

namespace soundspot::signal {

/// What turns the audio window into rows and frames (docs/method.md, "Preprocessing").
enum class FrontEnd {
  kStft,   ///< periodic Hann window, frames centred with reflection, power, log(x + log_offset)
  kScipy,  ///< scipy.signal.spectrogram's power spectral density, log(x + log_offset)
  kMel,    ///< torchaudio's MelSpectrogram with normalized, 10 · log10(max(x, log_offset))
};

/// How the channels become one.
enum class Channels {
  kPower,  ///< the mean of their powers
  kMix,    ///< the mean of their samples
  kFirst,  ///< the first alone
};

/// docs/method.md, "Preprocessing". The defaults are those of the published model, and give `[1, 257, 501]`.
struct SpectrogramOptions {
  int64_t sample_rate = 16000;   ///< Hz
  double seconds = 5;            ///< of the audio window
  std::optional<int64_t> begin;  ///< its first sample, at sample_rate; none: the window is in the middle
  Channels channels = Channels::kPower;
  FrontEnd front_end = FrontEnd::kStft;
  int64_t window = 512;      ///< samples of a frame, and of the transform
  int64_t hop = 160;         ///< samples between frames
  int64_t mel_bands = 257;   ///< rows of kMel
  double log_offset = 1e-7;  ///< added to the power before the logarithm; kMel takes the larger of both
  double scale = 12;         ///< divides the logarithm
};

/// Rows of the spectrogram: frequencies, or mel bands.
int64_t row_count(const SpectrogramOptions& options);

/// Frames of the spectrogram; 0 or less where the audio window is too short for one.
int64_t frame_count(const SpectrogramOptions& options);

/// What a spectrogram has where there is no power.
float floor_value(const SpectrogramOptions& options);

/// The middle `length` samples, from (n − length) div 2; a shorter clip is repeated from its start and cut.
///
/// @param samples `[C, n]` float32, n ≥ 1.
/// @return `[C, length]`; a view of the samples when nothing is repeated.
/// @throws Error ERR_AUDIO_EMPTY, ERR_SHAPE, or ERR_INPUT when length < 1.
Tensor fit_length(const Tensor& samples, int64_t length);

/// The spectrogram of the audio window of a clip, as `options.front_end` makes it.
///
/// The window is that of the whole resampled clip, but only the samples inside it are made. A clip that ends before the
/// window does is repeated from its start.
///
/// @param samples `[C, n]` float32, in [−1, 1], C ≥ 1, n ≥ 1.
/// @param rate of the samples in Hz, 1 … 768,000.
/// @return `[1, row_count(options), frame_count(options)]` float32, contiguous, finite.
/// @throws Error ERR_AUDIO_EMPTY, ERR_AUDIO_NOT_FINITE (a sample is NaN or infinite, or so large that its power
/// is), ERR_INPUT (rate), ERR_SHAPE (samples), ERR_CONFIG (options).
Tensor log_spectrogram(const Tensor& samples, int64_t rate, const SpectrogramOptions& options);

}  // namespace soundspot::signal
