#include "inference/cpu/calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace soundspot::inference {

namespace {

constexpr int64_t kCandidates = 128;  // ranges that are tried, from an eighth of the greatest magnitude up to it
constexpr double kLeastShare = 0.125;

/// Mean of (v − its step)² of values that lie evenly over a bin from `low` to `high`, where steps are clamped.
double error_of(double low, double high, double step) {
  constexpr auto kMost = static_cast<double>(core::kActivationLevels);
  const double most = step * kMost, centre = (low + high) / 2, spread = (high - low) * (high - low) / 12;
  if (centre > most) return (centre - most) * (centre - most) + spread;
  // A bin narrower than a step is rounded to one of them, a wider one evenly.
  if (high - low >= step) return step * step / 12;
  const double off = centre - std::round(centre / step) * step;
  return off * off + spread;
}

}  // namespace

void Histogram::widen(float most) {
  if (width_ == 0) width_ = std::exp2(std::ceil(std::log2(most / static_cast<float>(kBins))));
  while (most >= width_ * static_cast<float>(kBins)) {
    for (size_t i = 0; i < kBins / 2; ++i) counts_[i] = counts_[2 * i] + counts_[2 * i + 1];
    std::fill(counts_.begin() + kBins / 2, counts_.end(), 0.0);
    width_ *= 2;
  }
}

void Histogram::add(const Tensor& x) {
  const auto most = x.max().item<float>();
  // What is smaller is nothing beside any weight, and its bins would have no width.
  if (most <= std::numeric_limits<float>::min() * static_cast<float>(kBins)) return;
  widen(most);
  const auto* const values = x.const_data_ptr<float>();
  const float inverse = 1 / width_;
  for (int64_t i = 0; i < x.numel(); ++i) ++counts_[static_cast<size_t>(values[i] * inverse)];
}

float Histogram::best_step() const {
  const auto* const last =
      std::find_if(counts_.rbegin(), counts_.rend(), [](double count) { return count > 0; }).base();
  const auto used = static_cast<size_t>(last - counts_.begin());
  if (used == 0) return 1;
  const double width = width_, most = width * static_cast<double>(used);
  double best = 0, least = std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < kCandidates; ++i) {
    const double share = kLeastShare + (1 - kLeastShare) * static_cast<double>(i + 1) / kCandidates;
    const double step = most * share / static_cast<double>(core::kActivationLevels);
    double error = 0;
    // Exact zeros, which ReLU makes many of, are in the first bin: it counts for all ranges alike.
    for (size_t bin = 1; bin < used; ++bin) {
      const double low = width * static_cast<double>(bin);
      if (counts_[bin] > 0) error += counts_[bin] * error_of(low, low + width, step);
    }
    if (error < least) {
      least = error;
      best = step;
    }
  }
  return static_cast<float>(best);
}

Calibration::Calibration(std::shared_ptr<const methods::Localizer> localizer)
    : Calibration(localizer, localizer->whole_parameters()) {}

Calibration::Calibration(std::shared_ptr<const methods::Localizer> localizer, const core::Parameters& parameters)
    : localizer_(std::move(localizer)),
      image_encoder_(parameters, localizer_->inference_encoders().image.layout(),
                     {1, 3, localizer_->config().image_size, localizer_->config().image_size}, at::kFloat),
      audio_encoder_(parameters, localizer_->inference_encoders().audio.layout(),
                     {1, 1, localizer_->config().frequency_bins(), localizer_->config().frames()}, at::kFloat) {}

void Calibration::add(const Tensor& images, const Tensor& spectrograms) {
  methods::check_shapes(localizer_->config(), images, spectrograms);
  const at::NoGradGuard no_grad;
  const auto observe = [&](const std::string& name, const Tensor& x) { histograms_[name].add(x); };
  image_encoder_.forward(images, observe);
  audio_encoder_.forward(spectrograms, observe);
}

std::shared_ptr<methods::Localizer> Calibration::quantized() const {
  if (histograms_.empty()) throw Error("ERR_INPUT", "Nothing was calibrated with. Give at least one pair.");
  const at::NoGradGuard no_grad;
  auto own = std::make_shared<methods::Localizer>(localizer_->config(), std::nullopt, at::kCPU);
  core::Parameters& parameters = own->parameters();
  const core::Parameters whole = localizer_->whole_parameters();
  core::Quantization quantization;
  for (const encoders::Encoder* encoder : {&own->inference_encoders().image, &own->inference_encoders().audio}) {
    for (const auto& [name, input] : quantized_names(parameters, encoder->layout())) {
      const auto [values, scales] = core::quantized(whole[name + ".weight"].detach());
      const float step = histograms_.at(input).best_step();
      quantization.emplace(name, core::HeldConvolution{core::HeldValues(values), scales, step});
    }
  }
  own->quantize(std::move(quantization));
  for (const core::Parameter& parameter : whole.all()) {
    if (!parameters.has(parameter.name)) parameters.add_unused(parameter.name, at::empty_like(parameter.value));
    if (!parameters.freed(parameter.name)) parameters.assign(parameter.name, parameter.value.detach());
  }
  return own;
}

}  // namespace soundspot::inference
