// What a precision means on a device.
#pragma once

#include "core/compute.h"

namespace soundspot::core {

/// "float32", "tf32" or "bfloat16".
const char* name_of(Precision precision);

/// Whether the device has instructions for products of it.
bool multiplies(at::Device device, Precision precision);

/// `wanted`, or float32 where the device does not multiply it.
inline Precision computed(Precision wanted, at::Device device) {
  return multiplies(device, wanted) ? wanted : Precision::kFloat32;
}

/// How a GPU multiplies float32, for one scope: in TF32 where the computation wants that, else as IEEE has it. The
/// setting is LibTorch's own, of the whole process.
class Float32Products {
 public:
  explicit Float32Products(const Compute& compute)
      : cuda_(compute.device.is_cuda()),
        products_(cuda_ && at::globalContext().allowTF32CuBLAS()),
        convolutions_(cuda_ && at::globalContext().allowTF32CuDNN()) {
    const bool tf32 = compute.precision == Precision::kTf32;
    put(tf32, tf32);
  }
  ~Float32Products() { put(products_, convolutions_); }
  Float32Products(const Float32Products&) = delete;
  Float32Products& operator=(const Float32Products&) = delete;

 private:
  void put(bool products, bool convolutions) const {
    if (!cuda_) return;
    at::globalContext().setAllowTF32CuBLAS(products);
    at::globalContext().setAllowTF32CuDNN(convolutions);
  }

  const bool cuda_, products_, convolutions_;
};

}  // namespace soundspot::core
