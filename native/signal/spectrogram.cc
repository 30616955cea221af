// The spectrogram: resample, cut the audio window, power by the front end, logarithm.
#include "signal/spectrogram.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/finite.h"
#include "signal/mel.h"
#include "signal/power.h"
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

double window_length(const SpectrogramOptions& options) {
  return std::round(options.seconds * static_cast<double>(options.sample_rate));
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
  if (options.begin && *options.begin < 0)
    throw Error("ERR_CONFIG", "The audio window must not begin before the clip.");
  const double length = window_length(options);
  const bool scipy = options.front_end == FrontEnd::kScipy;
  if (scipy && options.hop > options.window) {
    throw Error("ERR_CONFIG", "hop must be at most window, got " + std::to_string(options.hop));
  }
  // Reflection needs more samples than it adds on a side; the negation also rejects NaN.
  const double least = static_cast<double>(scipy ? options.window : options.window / 2 + 1);
  if (!(length >= least && length <= static_cast<double>(kMaxFittedSamples))) {
    throw Error("ERR_CONFIG", std::string("seconds must give ") +
                                  (scipy ? "a window or more" : "more than half a window") +
                                  " and at most 2^28 samples, got " + std::to_string(options.seconds));
  }
  if (options.front_end == FrontEnd::kMel && options.mel_bands < 1) {
    throw Error("ERR_CONFIG", "melBands must be at least 1, got " + std::to_string(options.mel_bands));
  }
  return static_cast<int64_t>(length);
}

/// The samples begin … begin + length − 1 of a clip that is repeated without end.
Tensor cut_repeated(const Tensor& samples, int64_t begin, int64_t length) {
  const int64_t n = samples.size(1), first = begin % n;
  return samples.repeat({1, (first + length + n - 1) / n}).slice(1, first, first + length);
}

/// The audio window of resample(samples, rate, sample_rate), made from the samples that it needs: `[C, length]`.
Tensor resample_window(const Tensor& samples, int64_t rate, const SpectrogramOptions& options, int64_t length) {
  const int64_t to = options.sample_rate, resampled = resampled_length(samples.size(1), rate, to);
  const int64_t begin = options.begin.value_or((resampled - length) / 2);
  if (resampled > length && begin <= resampled - length) {
    return resample_range(samples, rate, to, begin, begin + length);
  }
  const Tensor whole = resample(samples, rate, to);
  return options.begin ? cut_repeated(whole, begin, length) : fit_length(whole, length);
}

/// The channels that the front end sees: `[C, n]` or `[1, n]`.
Tensor select_channels(const Tensor& samples, Channels channels) {
  if (samples.size(0) == 1 || channels == Channels::kPower) return samples;
  return channels == Channels::kFirst ? samples.narrow(0, 0, 1) : samples.mean(0, /*keepdim=*/true);
}

/// Of `[C, length]` in the audio window: `[rows, frames]` float32.
Tensor logarithm_of(const Tensor& clip, const SpectrogramOptions& options) {
  switch (options.front_end) {
    case FrontEnd::kScipy:
      return spectral_density(clip.clamp(-1, 1), options.window, options.hop, options.sample_rate)
          .add_(options.log_offset)
          .log_()
          .div_(options.scale)
          .to(at::kFloat);
    case FrontEnd::kMel:
      return mel_power(clip, options.window, options.hop, options.mel_bands, options.sample_rate)
          .clamp_min_(options.log_offset)
          .log10_()
          .mul_(10)
          .div_(options.scale)
          .to(at::kFloat);
    default:
      return mean_power(clip, options.window, options.hop).add_(options.log_offset).log_().div_(options.scale);
  }
}

}  // namespace

int64_t row_count(const SpectrogramOptions& options) {
  return options.front_end == FrontEnd::kMel ? options.mel_bands : options.window / 2 + 1;
}

int64_t frame_count(const SpectrogramOptions& options) {
  const auto length = static_cast<int64_t>(window_length(options));
  const int64_t padding = options.front_end == FrontEnd::kScipy ? 0 : 2 * (options.window / 2);
  const int64_t rest = length + padding - options.window;
  return rest < 0 ? 0 : rest / options.hop + 1;
}

float floor_value(const SpectrogramOptions& options) {
  const double logarithm =
      options.front_end == FrontEnd::kMel ? 10 * std::log10(options.log_offset) : std::log(options.log_offset);
  return static_cast<float>(logarithm / options.scale);
}

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

  const Tensor chosen = select_channels(samples, options.channels);
  const Tensor power = logarithm_of(resample_window(chosen, rate, options, length), options).unsqueeze(0);
  if (!all_finite(power)) {
    throw Error("ERR_AUDIO_NOT_FINITE", "The samples are too large: their power is infinite. Expected -1 to 1.");
  }
  return power;
}

}  // namespace soundspot::signal
