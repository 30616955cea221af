// Resizing by LibTorch's 8-bit antialiased kernels, and normalisation by table.
#include "signal/resize.h"

#include <array>

#include "error.h"

namespace soundspot::signal {
namespace {

constexpr std::array<float, 3> kMean{0.485f, 0.456f, 0.406f};
constexpr std::array<float, 3> kStd{0.229f, 0.224f, 0.225f};

}  // namespace

void check_image(const Tensor& image) {
  if (image.dim() != 3 || image.size(2) != 3 || image.scalar_type() != at::kByte || !image.device().is_cpu()) {
    throw Error("ERR_SHAPE", "A picture must be a [height, width, 3] uint8 tensor on the CPU.");
  }
  for (const int64_t side : {image.size(0), image.size(1)}) {
    if (side < 1 || side > kMaxImageSide) {
      throw Error("ERR_SHAPE", "A picture's sides must be from 1 to 65535 pixels, got " + std::to_string(side) + ".");
    }
  }
}

Tensor resize_bicubic(const Tensor& image, int64_t height, int64_t width) {
  check_image(image);
  for (const int64_t side : {height, width}) {
    if (side < 1 || side > kMaxImageSide) {
      throw Error("ERR_INPUT", "A picture can be resized to 1 to 65535 pixels, got " + std::to_string(side) + ".");
    }
  }
  const at::NoGradGuard no_grad;
  const Tensor input = image.contiguous().permute({2, 0, 1}).unsqueeze(0);  // [1, 3, H, W], channels last
  const Tensor resized = at::_upsample_bicubic2d_aa(input, {height, width}, /*align_corners=*/false);
  return resized.squeeze(0).permute({1, 2, 0}).contiguous();
}

Tensor normalize_image(const Tensor& image) {
  check_image(image);
  std::array<std::array<float, 256>, 3> table;
  for (size_t channel = 0; channel < 3; ++channel) {
    for (size_t value = 0; value < 256; ++value) {
      table[channel][value] = (static_cast<float>(value) / 255.0f - kMean[channel]) / kStd[channel];
    }
  }
  const Tensor input = image.contiguous();
  const int64_t pixels = input.size(0) * input.size(1);
  Tensor output = at::empty({3, input.size(0), input.size(1)}, at::kFloat);
  const uint8_t* const in = input.const_data_ptr<uint8_t>();
  float* const out = output.mutable_data_ptr<float>();
  for (int64_t i = 0; i < pixels; ++i) {
    out[i] = table[0][in[3 * i]];
    out[pixels + i] = table[1][in[3 * i + 1]];
    out[2 * pixels + i] = table[2][in[3 * i + 2]];
  }
  return output;
}

}  // namespace soundspot::signal
