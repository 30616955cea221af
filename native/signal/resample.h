// Sample rate conversion, equal to torchaudio's.
#pragma once

#include <cstdint>

#include "core/torch.h"

namespace soundspot::signal {

/// The rates that are accepted, in Hz.
inline constexpr int64_t kMinSampleRate = 1;
inline constexpr int64_t kMaxSampleRate = 768000;

/// The number of samples that `samples` become: ceil(to · samples / from).
/// @throws Error ERR_INPUT when a rate is outside 1 … 768,000 Hz.
int64_t resampled_length(int64_t samples, int64_t from, int64_t to);

/// Windowed-sinc resampling as torchaudio.functional.resample does it by default (`sinc_interp_hann`,
/// lowpass filter width 6, rolloff 0.99). See docs/method.md, "Preprocessing".
///
/// @param samples `[C, n]` float32; when the rates are equal it is returned as it is.
/// @param from, to rates in Hz, 1 … 768,000.
/// @return `[C, ceil(to · n / from)]` float32. Time and memory grow with n, for every common divisor of the rates.
/// @throws Error ERR_INPUT (rates, or more than 2^31 − 1 samples to make), ERR_SHAPE, ERR_AUDIO_EMPTY.
Tensor resample(const Tensor& samples, int64_t from, int64_t to);

/// Columns `begin … end − 1` of `resample(samples, from, to)`, bit for bit, without making the others.
/// @throws Error as resample(), and ERR_INPUT unless 0 ≤ begin < end ≤ resampled_length().
Tensor resample_range(const Tensor& samples, int64_t from, int64_t to, int64_t begin, int64_t end);

}  // namespace soundspot::signal
