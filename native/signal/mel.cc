#include "signal/mel.h"

#include <algorithm>
#include <cmath>

#include "signal/power.h"

namespace soundspot::signal {
namespace {

double to_mel(double hertz) { return 2595 * std::log10(1 + hertz / 700); }

double to_hertz(double mel) { return 700 * (std::pow(10, mel / 2595) - 1); }

}  // namespace

Tensor mel_filters(int64_t bands, int64_t bins, int64_t rate) {
  const double top = static_cast<double>(rate) / 2;
  const double step = to_mel(top) / static_cast<double>(bands + 1);
  Tensor filters = at::zeros({bands, bins}, at::kDouble);
  auto* const weights = filters.mutable_data_ptr<double>();
  for (int64_t band = 0; band < bands; ++band) {
    const double left = to_hertz(step * static_cast<double>(band));
    const double peak = to_hertz(step * static_cast<double>(band + 1));
    const double right = to_hertz(step * static_cast<double>(band + 2));
    for (int64_t bin = 0; bin < bins; ++bin) {
      const double hertz = top * static_cast<double>(bin) / static_cast<double>(bins - 1);
      const double rising = (hertz - left) / (peak - left), falling = (right - hertz) / (right - peak);
      weights[band * bins + bin] = std::max(0.0, std::min(rising, falling));
    }
  }
  return filters;
}

Tensor mel_power(const Tensor& clip, int64_t window, int64_t hop, int64_t bands, int64_t rate) {
  return at::matmul(mel_filters(bands, window / 2 + 1, rate), normalized_power(clip, window, hop));
}

}  // namespace soundspot::signal
