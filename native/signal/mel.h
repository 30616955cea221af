// Power in bands of the mel scale.
#pragma once

#include <cstdint>

#include "core/torch.h"

namespace soundspot::signal {

/// Triangular filters between equal steps of the mel scale from 0 to half the rate, as torchaudio makes them with
/// `mel_scale="htk"` and `norm=None`: mel(f) = 2595 · log10(1 + f / 700). A band that is narrower than the distance of
/// two frequencies may have no weight at all.
///
/// @param bins frequencies, evenly spaced from 0 to half the rate.
/// @return `[bands, bins]` float64.
Tensor mel_filters(int64_t bands, int64_t bins, int64_t rate);

/// mel_filters · normalized_power: torchaudio's MelSpectrogram with `normalized=True`.
///
/// @param clip `[C, n]` float32, n > window div 2.
/// @return `[bands, (n + 2 · (window div 2) − window) div hop + 1]` float64.
Tensor mel_power(const Tensor& clip, int64_t window, int64_t hop, int64_t bands, int64_t rate);

}  // namespace soundspot::signal
