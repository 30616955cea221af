// Augmentation and normalization of images: the CPU's, to the last bit.
#include "signal/resize.h"
#include "verify/images.h"
#include "verify/problem.h"

namespace soundspot::verify {

ImageBatch drawn_images(int64_t batch, const signal::ImageAugmentation& options, uint64_t seed) {
  std::vector<Tensor> squares, changes, expected;
  for (int64_t i = 0; i < batch; ++i) {
    const Tensor image = at::randint(256, {options.size, options.size, 3}, at::kByte);
    signal::DrawnImage drawn = signal::draw_augmentation(image, options, seed + static_cast<uint64_t>(i));
    squares.push_back(drawn.pixels.clone());
    changes.push_back(signal::bytes_of(drawn.change));
    expected.push_back(signal::normalize_image(signal::apply_change(std::move(drawn))));
  }
  return {at::stack(squares), at::stack(changes), at::stack(expected)};
}

void verify_augment(const Subject& subject, Report& report) {
  const Tolerance exact{0, "the same source, in which no product and sum are joined"};
  const Kernels& kernels = subject.kernels;
  std::vector<int64_t> sizes{3, 47, 64};
  if (!subject.small) sizes.insert(sizes.end(), {224, 1024});
  uint64_t seed = 3000;
  for (const int64_t size : sizes) {
    for (const auto& [kind, blur] :
         {std::pair{"Gaussian", signal::Blur::kKernel}, {"Pillow's", signal::Blur::kPillow}}) {
      for (const double translate : {0.0, 0.3}) {
        const std::string name = "augmentation of 5 images of " + std::to_string(size) + ", " + kind + " blur" +
                                 (translate > 0 ? ", moved" : "");
        attempt(report, name, ++seed, [&, size = size, blur = blur] {
          signal::ImageAugmentation options;
          options.size = size;
          options.crop = signal::Crop::kWhole;
          options.blur = blur;
          options.vertical_flip_probability = 0.5;
          options.translate = translate;
          options.hide_probability = translate;  // on moved images
          const ImageBatch images = drawn_images(5, options, seed);
          Problem problem;
          problem.inputs = {{"squares", images.squares, at::kByte, false},
                            {"changes", images.changes, at::kByte, false}};
          problem.float32 = exact;
          problem.exact = [&](const std::vector<Tensor>&) -> std::vector<Output> {
            return {{"images", images.expected}};
          };
          problem.own = [&](const std::vector<Tensor>& in) -> std::vector<Output> {
            return {{"images", kernels.augment(in[0], in[1])}};
          };
          return verify(name, problem, subject.device);
        });
      }
    }
  }
}

}  // namespace soundspot::verify
