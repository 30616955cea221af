// What a precision means on a device.
#pragma once

#include <array>

#include "core/compute.h"

namespace soundspot::core {

/// All of them.
inline constexpr std::array kPrecisions{Precision::kFloat32, Precision::kTf32, Precision::kBFloat16, Precision::kInt8};

/// "float32", "tf32", "bfloat16" or "int8".
const char* name_of(Precision precision);

/// Whether the device has instructions for products of it; int8 is computed by every CPU.
bool multiplies(at::Device device, Precision precision);

/// `wanted`, or float32 where the device does not multiply it. int8 stays: the engine rejects it elsewhere.
inline Precision computed(Precision wanted, at::Device device) {
  return wanted == Precision::kInt8 || multiplies(device, wanted) ? wanted : Precision::kFloat32;
}

/// How a GPU multiplies, for one scope: float32 in TF32 where the computation wants that, else as IEEE has it;
/// convolutions by algorithms that repeat to the last bit, so that a run resumes. The settings are LibTorch's own, of
/// the whole process.
class DeviceProducts {
 public:
  explicit DeviceProducts(const Compute& compute)
      : cuda_(compute.device.is_cuda()),
        before_(cuda_ ? Settings{at::globalContext().allowTF32CuBLAS(), at::globalContext().allowTF32CuDNN(),
                                 at::globalContext().deterministicCuDNN()}
                      : Settings{}) {
    const bool tf32 = compute.precision == Precision::kTf32;
    put({.products = tf32, .convolutions = tf32, .repeats = true});
  }
  ~DeviceProducts() { put(before_); }
  DeviceProducts(const DeviceProducts&) = delete;
  DeviceProducts& operator=(const DeviceProducts&) = delete;

 private:
  struct Settings {
    bool products = false, convolutions = false;  // in TF32
    bool repeats = false;
  };

  void put(const Settings& settings) const {
    if (!cuda_) return;
    at::globalContext().setAllowTF32CuBLAS(settings.products);
    at::globalContext().setAllowTF32CuDNN(settings.convolutions);
    at::globalContext().setDeterministicCuDNN(settings.repeats);
  }

  const bool cuda_;
  const Settings before_;
};

}  // namespace soundspot::core
