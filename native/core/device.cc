#include "core/device.h"

#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <sstream>

#include "core/error.h"
#include "core/gpus.h"

namespace soundspot::core {

namespace {

constexpr at::DeviceType kKinds[] = {at::kCUDA, at::kPrivateUse1};

/// Devices of a kind that LibTorch knows in this process and that answer.
int count(at::DeviceType kind) {
#ifdef SOUNDSPOT_CUDA
  // LibTorch would warn where a driver cannot be used.
  if (kind == at::kCUDA) return static_cast<int>(gpus().list.size());
#endif
  return c10::impl::hasDeviceGuardImpl(kind) ? c10::impl::getDeviceGuardImpl(kind)->deviceCount() : 0;
}

/// Whether this build has code for a device that answers.
bool is_usable(at::Device device) {
#ifdef SOUNDSPOT_CUDA
  const auto index = static_cast<size_t>(device.index());
  if (device.is_cuda()) return index < gpus().list.size() && gpus().list[index].usable;
#endif
  return true;
}

/// Why a CUDA device cannot be used, and what to do; starts with a space.
std::string why_no_cuda([[maybe_unused]] at::Device wanted) {
#ifdef SOUNDSPOT_CUDA
  if (!gpus().problem.empty()) return " " + gpus().problem;
  const auto index = static_cast<size_t>(std::max<at::DeviceIndex>(wanted.index(), 0));
  if (index < gpus().list.size()) return " This build has no code for the GPU " + gpus().list[index].name + ".";
  return " " + std::to_string(gpus().list.size()) + " GPUs answer.";
#else
  return " This build computes on the CPU alone: `npx soundspot setup --cuda` installs the one for NVIDIA GPUs.";
#endif
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
    for (int i = 0; i < count(kind); ++i) {
      const at::Device device(kind, static_cast<at::DeviceIndex>(i));
      if (is_usable(device)) names.push_back(device.str());
    }
  }
  return names;
}

at::Device find_device(const std::string& name) {
  if (name == "auto") {
    const std::optional<int> gpu = first_usable_gpu();
    return gpu ? at::Device(at::kCUDA, static_cast<at::DeviceIndex>(*gpu)) : at::Device(at::kCPU);
  }
  const std::optional<at::Device> wanted = parse(name);
  if (wanted && wanted->is_cpu() && wanted->index() <= 0) return at::kCPU;
  if (wanted && std::find(std::begin(kKinds), std::end(kKinds), wanted->type()) != std::end(kKinds)) {
    const auto index = std::max<at::DeviceIndex>(wanted->index(), 0);
    if (index < count(wanted->type()) && is_usable({wanted->type(), index})) return {wanted->type(), index};
  }
  std::ostringstream message;
  message << "There is no device \"" << name << "\".";
  if (wanted && wanted->is_cuda()) message << why_no_cuda(*wanted);
  message << " Use one of: auto";
  for (const std::string& each : device_names()) message << ", " << each;
  message << '.';
  throw Error("ERR_DEVICE", message.str());
}

}  // namespace soundspot::core
