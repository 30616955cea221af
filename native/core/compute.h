// The device and precision of a computation, passed down; nothing below reads a global. The device is chosen by
// core::find_device when a model is made or loaded, the precision by each call (binding::precision).
#pragma once

#include "core/torch.h"

namespace soundspot::core {

enum class Precision {
  kFloat32,   // IEEE
  kTf32,      // products with 10 bits of mantissa, where the device has them
  kBFloat16,  // encoders and decoders; slot attention and losses stay float32
  kInt8,      // convolutions of the encoders that calibration quantized, on the CPU; all else is float32
};

struct Compute {
  at::Device device = at::kCPU;
  Precision precision = Precision::kFloat32;

  bool bfloat16() const { return precision == Precision::kBFloat16; }
  bool on_cpu() const { return device.is_cpu(); }
};

}  // namespace soundspot::core
