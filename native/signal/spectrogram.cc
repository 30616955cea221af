// The log spectrogram: resample, fit, short-time Fourier transform, power, logarithm.
#include "signal/spectrogram.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/finite.h"
#include "signal/resample.h"

namespace soundspot::signal {
namespace {

constexpr int64_t kMaxFittedSamples = int64_t{1} << 28;  // 4.6 hours at 16 kHz

void check_samples(const Tensor& samples) {
  if (samples.dim() != 2 || samples.scalar_type() != at::kFloat || !samples.device().is_cpu()) {
    throw Error("ERR_SHAPE", "Samples must be a [channels, samples] float32 tensor on the CPU.");
  }
  if (samples.numel() == 0) throw Error("ERR_AUDIO_EMPTY", "The audio has no samples.");
}

bool all_finite(const Tensor& values) {
  const Tensor dense = values.contiguous();
  return core::all_finite(dense.const_data_ptr<float>(), dense.numel());
}

/// Frames that are transformed at a time: their memory stays in the cache and below the size from which the C library
/// requests memory of the system, and returns it, each time.
constexpr int64_t kFrames = 48;

/// The mean over the channels of |STFT|², frames centred with reflection: [C, n] → [window div 2 + 1, n div hop + 1].
Tensor mean_power(const Tensor& clip, const SpectrogramOptions& options) {
  const int64_t window = options.window, bins = window / 2 + 1, channels = clip.size(0);
  const Tensor hann = at::hann_window(window, /*periodic=*/true, at::TensorOptions(at::kFloat));
  const Tensor padded = at::reflection_pad1d(clip, {window / 2, window / 2}).contiguous();
  const int64_t frames = (padded.size(1) - window) / options.hop + 1;
  Tensor power = at::zeros({bins, frames}, at::kFloat);
  float* const out = power.mutable_data_ptr<float>();
  for (int64_t channel = 0; channel < channels; ++channel) {
    for (int64_t first = 0; first < frames; first += kFrames) {
      const int64_t count = std::min(kFrames, frames - first);
      const Tensor part =
          padded.as_strided({count, window}, {options.hop, 1}, channel * padded.size(1) + first * options.hop);
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

/// Returns the number of samples of the audio window.
int64_t check_options(const SpectrogramOptions& options) {
  if (options.sample_rate < kMinSampleRate || options.sample_rate > kMaxSampleRate) {
    throw Error("ERR_CONFIG", "sampleRate must be from 1 to 768000 Hz, got " + std::to_string(options.sample_rate));
  }
  if (options.window < 2) throw Error("ERR_CONFIG", "window must be at least 2, got " + std::to_string(options.window));
  if (options.hop < 1) throw Error("ERR_CONFIG", "hop must be at least 1, got " + std::to_string(options.hop));
  if (!(options.log_offset > 0) || !std::isfinite(options.log_offset)) {
    throw Error("ERR_CONFIG", "logOffset must be a positive number, got " + std::to_string(options.log_offset));
  }
  if (!(options.scale > 0) || !std::isfinite(options.scale)) {
    throw Error("ERR_CONFIG", "scale must be a positive number, got " + std::to_string(options.scale));
  }
  const double length = std::round(options.seconds * static_cast<double>(options.sample_rate));
  // Reflection needs more samples than it adds on a side; the negation also rejects NaN.
  if (!(length > static_cast<double>(options.window / 2) && length <= static_cast<double>(kMaxFittedSamples))) {
    throw Error("ERR_CONFIG", "seconds must give more than half a window and at most 2^28 samples, got " +
                                  std::to_string(options.seconds));
  }
  return static_cast<int64_t>(length);
}

/// fit_length(resample(samples, rate, sample_rate), length), made from the samples that it needs.
Tensor resample_and_fit(const Tensor& samples, int64_t rate, int64_t sample_rate, int64_t length) {
  const int64_t resampled = resampled_length(samples.size(1), rate, sample_rate);
  if (resampled <= length) return fit_length(resample(samples, rate, sample_rate), length);
  const int64_t begin = (resampled - length) / 2;
  return resample_range(samples, rate, sample_rate, begin, begin + length);
}

}  // namespace

Tensor fit_length(const Tensor& samples, int64_t length) {
  check_samples(samples);
  if (length < 1) throw Error("ERR_INPUT", "A length must be at least 1, got " + std::to_string(length) + ".");
  const int64_t n = samples.size(1);
  if (n >= length) return samples.slice(1, (n - length) / 2, (n - length) / 2 + length);
  return samples.repeat({1, (length + n - 1) / n}).slice(1, 0, length);
}

Tensor log_spectrogram(const Tensor& samples, int64_t rate, const SpectrogramOptions& options) {
  const at::NoGradGuard no_grad;
  check_samples(samples);
  const int64_t length = check_options(options);
  if (!all_finite(samples)) {
    throw Error("ERR_AUDIO_NOT_FINITE", "The audio has a NaN or infinite sample.");
  }

  const Tensor clip = resample_and_fit(samples, rate, options.sample_rate, length);  // [C, length]
  Tensor power = mean_power(clip, options).unsqueeze(0);
  power.add_(options.log_offset).log_().div_(options.scale);
  if (!all_finite(power)) {
    throw Error("ERR_AUDIO_NOT_FINITE", "The samples are too large: their power is infinite. Expected -1 to 1.");
  }
  return power;
}

}  // namespace soundspot::signal
