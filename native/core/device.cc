#include "core/device.h"

#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <sstream>

#include "core/error.h"

namespace soundspot::core {

namespace {

constexpr at::DeviceType kKinds[] = {at::kCUDA, at::kPrivateUse1};

/// Devices of a kind that LibTorch knows in this process and that answer.
int count(at::DeviceType kind) {
  return c10::impl::hasDeviceGuardImpl(kind) ? c10::impl::getDeviceGuardImpl(kind)->deviceCount() : 0;
}

std::optional<at::Device> parse(const std::string& name) {
  try {
    return at::Device(name);
  } catch (const c10::Error&) {
    return std::nullopt;
  }
}

}  // namespace

std::vector<std::string> device_names() {
  std::vector<std::string> names{"cpu"};
  for (const at::DeviceType kind : kKinds) {
    for (int i = 0; i < count(kind); ++i) names.push_back(at::Device(kind, static_cast<at::DeviceIndex>(i)).str());
  }
  return names;
}

at::Device find_device(const std::string& name) {
  if (name == "auto") return count(at::kCUDA) > 0 ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
  const std::optional<at::Device> wanted = parse(name);
  if (wanted && wanted->is_cpu() && wanted->index() <= 0) return at::kCPU;
  if (wanted && std::find(std::begin(kKinds), std::end(kKinds), wanted->type()) != std::end(kKinds)) {
    const auto index = std::max<at::DeviceIndex>(wanted->index(), 0);
    if (index < count(wanted->type())) return {wanted->type(), index};
  }
  std::ostringstream message;
  message << "There is no device \"" << name << "\".";
  if (wanted && wanted->is_cuda() && !c10::impl::hasDeviceGuardImpl(at::kCUDA)) {
    message << " This build computes on the CPU alone.";
  } else if (wanted && wanted->is_cuda() && count(at::kCUDA) == 0) {
    message << " No NVIDIA GPU answers: look at the output of nvidia-smi.";
  }
  message << " Use one of: auto";
  for (const std::string& each : device_names()) message << ", " << each;
  message << '.';
  throw Error("ERR_DEVICE", message.str());
}

}  // namespace soundspot::core
