#include "kernels/device.h"

#include <array>
#include <atomic>

namespace soundspot::kernels {

namespace {

constexpr auto kKinds = static_cast<size_t>(at::COMPILE_TIME_MAX_DEVICE_TYPES);

/// By kind. Objects of other files write to it while the addon is opened.
std::array<std::atomic<const DeviceKernels*>, kKinds>& table() {
  static std::array<std::atomic<const DeviceKernels*>, kKinds> all{};
  return all;
}

}  // namespace

const DeviceKernels* kernels_of(at::Device device) { return table().at(static_cast<size_t>(device.type())).load(); }

void provide(at::DeviceType kind, const DeviceKernels* kernels) {
  table().at(static_cast<size_t>(kind)).store(kernels);
}

}  // namespace soundspot::kernels
