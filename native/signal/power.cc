#include "signal/power.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace soundspot::signal {
namespace {

/// Frames that are transformed at a time: their memory stays in the cache and below the size from which the C library
/// requests memory of the system, and returns it, each time.
constexpr int64_t kFrames = 48;

/// scipy's Tukey window of shape 0.25, periodic: that of one sample more without its last. `[window]` float64
Tensor tukey_window(int64_t window) {
  constexpr double kShape = 0.25;
  const auto length = static_cast<double>(window);
  const int64_t taper = static_cast<int64_t>(std::floor(kShape * length / 2));
  Tensor result = at::ones({window}, at::kDouble);
  auto* const values = result.mutable_data_ptr<double>();
  const auto cosine = [&](double x) { return 0.5 * (1 + std::cos(std::numbers::pi * x)); };
  for (int64_t i = 0; i < window; ++i) {
    const double position = 2 * static_cast<double>(i) / (kShape * length);
    if (i <= taper) {
      values[i] = cosine(position - 1);
    } else if (i >= window - taper) {
      values[i] = cosine(position - 2 / kShape + 1);
    }
  }
  return result;
}

/// Sums over channels of |rfft(frame · weights)|² of overlapping frames: `[C, n]` float64 → `[bins, frames]` float64.
/// @param centred Whether each frame's mean is removed before.
Tensor summed_power(const Tensor& samples, const Tensor& weights, int64_t hop, bool centred) {
  const int64_t window = weights.size(0), bins = window / 2 + 1;
  const int64_t frames = (samples.size(1) - window) / hop + 1;
  Tensor power = at::zeros({bins, frames}, at::kDouble);
  auto* const out = power.mutable_data_ptr<double>();
  for (int64_t channel = 0; channel < samples.size(0); ++channel) {
    for (int64_t first = 0; first < frames; first += kFrames) {
      const int64_t count = std::min(kFrames, frames - first);
      Tensor part = samples.as_strided({count, window}, {hop, 1}, channel * samples.size(1) + first * hop);
      if (centred) part = part - part.mean(1, /*keepdim=*/true);
      const Tensor transform = at::view_as_real(at::fft_rfft(part * weights).contiguous());  // [count, bins, 2]
      const auto* const in = transform.const_data_ptr<double>();
      for (int64_t bin = 0; bin < bins; ++bin) {
        for (int64_t i = 0; i < count; ++i) {
          const double* const value = in + 2 * (i * bins + bin);
          out[bin * frames + first + i] += value[0] * value[0] + value[1] * value[1];
        }
      }
    }
  }
  return power;
}

double energy(const Tensor& weights) { return weights.square().sum().item<double>(); }

}  // namespace

Tensor mean_power(const Tensor& clip, int64_t window, int64_t hop) {
  const int64_t bins = window / 2 + 1, channels = clip.size(0);
  const Tensor hann = at::hann_window(window, /*periodic=*/true, at::TensorOptions(at::kFloat));
  const Tensor padded = at::reflection_pad1d(clip, {window / 2, window / 2}).contiguous();
  const int64_t frames = (padded.size(1) - window) / hop + 1;
  Tensor power = at::zeros({bins, frames}, at::kFloat);
  float* const out = power.mutable_data_ptr<float>();
  for (int64_t channel = 0; channel < channels; ++channel) {
    for (int64_t first = 0; first < frames; first += kFrames) {
      const int64_t count = std::min(kFrames, frames - first);
      const Tensor part = padded.as_strided({count, window}, {hop, 1}, channel * padded.size(1) + first * hop);
      const Tensor transform = at::view_as_real(at::fft_rfft(part * hann).contiguous());
      const float* const in = transform.const_data_ptr<float>();
      for (int64_t bin = 0; bin < bins; ++bin) {
        for (int64_t i = 0; i < count; ++i) {
          const float* const value = in + 2 * (i * bins + bin);
          out[bin * frames + first + i] += value[0] * value[0] + value[1] * value[1];
        }
      }
    }
  }
  return channels == 1 ? power : power.div_(channels);
}

Tensor normalized_power(const Tensor& clip, int64_t window, int64_t hop) {
  const Tensor hann = at::hann_window(window, /*periodic=*/true, at::TensorOptions(at::kDouble));
  const Tensor padded = at::reflection_pad1d(clip.to(at::kDouble), {window / 2, window / 2}).contiguous();
  return summed_power(padded, hann, hop, /*centred=*/false).div_(energy(hann) * static_cast<double>(clip.size(0)));
}

Tensor spectral_density(const Tensor& clip, int64_t window, int64_t hop, int64_t rate) {
  const Tensor tukey = tukey_window(window);
  Tensor power = summed_power(clip.to(at::kDouble).contiguous(), tukey, hop, /*centred=*/true);
  power.div_(energy(tukey) * static_cast<double>(rate) * static_cast<double>(clip.size(0)));
  // Of an odd window the last frequency has a counterpart, too.
  const int64_t doubled = (window - 1) / 2;
  power.narrow(0, 1, doubled).mul_(2);
  return power;
}

}  // namespace soundspot::signal
