// Augmentation and normalization of images, against what the CPU does, bit for bit.
#include <cstring>

#include "host_kernels.h"
#include "kernels/cuda/augment_function.h"
#include "signal/augment.h"
#include "signal/resize.h"

namespace soundspot::testing {
namespace {

using kernels::cuda::Host;

/// A number of hundredths.
double share(const Case& of, const char* name) { return static_cast<double>(of.of(name)) / 100; }

Comparisons augment(const Case& of) {
  signal::ImageAugmentation options;
  options.size = of.of("size");
  options.crop = signal::Crop::kWhole;
  options.blur_probability = share(of, "blur");
  options.blur = of.flag("pillow") ? signal::Blur::kPillow : signal::Blur::kKernel;
  options.blur_sigma_max = static_cast<double>(of.of("sigma"));
  options.vertical_flip_probability = 0.5;
  options.jitter_probability = share(of, "jitter");
  options.brightness = options.contrast = options.saturation = share(of, "strength");
  options.hue = share(of, "hue");
  options.grey_probability = share(of, "grey");
  options.translate = share(of, "translate");
  options.hide_probability = share(of, "hide");
  options.hide_grid = of.of("grid");
  std::vector<Tensor> squares, changes, expected;
  for (int64_t i = 0; i < of.of("batch"); ++i) {
    Tensor image = at::randint(256, {options.size, options.size, 3}, at::kByte);
    if (of.flag("plain")) image.fill_(static_cast<int64_t>(image.max().item<uint8_t>()));
    signal::DrawnImage drawn = signal::draw_augmentation(image, options, static_cast<uint64_t>(of.of("seed") + i));
    squares.push_back(drawn.pixels.clone());
    changes.push_back(signal::bytes_of(drawn.change));
    expected.push_back(signal::normalize_image(signal::apply_change(std::move(drawn))));
  }
  const Tensor own = kernels::cuda::augment_by<Host>(at::stack(squares), at::stack(changes));
  return {{"images", own, at::stack(expected)}};
}

const RegisterComparison registered("augment", augment);

}  // namespace
}  // namespace soundspot::testing
