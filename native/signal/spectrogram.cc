// The log spectrogram: resample, fit, short-time Fourier transform, power, logarithm.
#include "signal/spectrogram.h"

#include <algorithm>
#include <cmath>

#include "error.h"
#include "signal/resample.h"

namespace soundspot::signal {
namespace {

constexpr int64_t kMaxFittedSamples = int64_t{1} << 28;  // 4.6 hours at 16 kHz

void check_samples(const Tensor& samples) {
  if (samples.dim() != 2 || samples.scalar_type() != at::kFloat || !samples.device().is_cpu()) {
    throw Error("ERR_SHAPE", "Samples must be a [channels, samples] float32 tensor on the CPU.");
  }
  if (samples.numel() == 0) throw Error("ERR_AUDIO_EMPTY", "The sound has no samples.");
}

bool all_finite(const Tensor& values) {
  const Tensor dense = values.contiguous();
  const float* const data = dense.const_data_ptr<float>();
  return std::all_of(data, data + dense.numel(), [](float value) { return std::isfinite(value); });
}

/// Returns the number of samples that the model hears.
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
  // Reflection needs more samples than it adds on a side; the negation also refuses NaN.
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
    throw Error("ERR_AUDIO_NOT_FINITE", "The sound holds a NaN or infinite sample.");
  }

  const Tensor clip = resample_and_fit(samples, rate, options.sample_rate, length);  // [C, length]
  const Tensor hann = at::hann_window(options.window, /*periodic=*/true, at::TensorOptions(at::kFloat));
  const Tensor transform = at::stft(clip, options.window, options.hop, options.window, hann, /*center=*/true, "reflect",
                                    /*normalized=*/false, /*onesided=*/true, /*return_complex=*/true);
  Tensor power = at::view_as_real(transform).square().sum(-1).mean(0, /*keepdim=*/true);  // [1, window/2 + 1, T]
  power.add_(options.log_offset).log_().div_(options.scale);
  if (!all_finite(power)) {
    throw Error("ERR_AUDIO_NOT_FINITE", "The samples are too large: their power is infinite. Expected -1 to 1.");
  }
  return power.contiguous();
}

}  // namespace soundspot::signal
