// NVIDIA GPUs, as a build with CUDA sees them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace soundspot::core {

/// A GPU that answers.
struct Gpu {
  std::string name;
  /// Compute capability, such as 9 and 0.
  int major = 0;
  int minor = 0;
  size_t memory = 0;
  /// Whether this build has code for it.
  bool usable = false;
};

struct Gpus {
  /// Versions of CUDA, such as "13.0": the one that this is built with, and the newest that the driver can run, empty
  /// without a driver.
  std::string built;
  std::string driver;
  std::vector<Gpu> list;
  /// Why none can be used, and what to do; empty where one can.
  std::string problem;
};

#ifdef SOUNDSPOT_CUDA
/// Looks once a process, which starts NVIDIA's driver.
const Gpus& gpus();
#endif

/// The number of the first GPU that can be used. Nothing in a build without CUDA.
inline std::optional<int> first_usable_gpu() {
#ifdef SOUNDSPOT_CUDA
  for (size_t i = 0; i < gpus().list.size(); ++i) {
    if (gpus().list[i].usable) return static_cast<int>(i);
  }
#endif
  return std::nullopt;
}

/// Whether code for these architectures runs on a GPU; only in a build with CUDA. `architectures` is CMake's list with
/// commas: "80-real" is machine code of one, "90" that and code that the driver compiles for newer ones.
bool runs_on(const std::string& architectures, int major, int minor);

}  // namespace soundspot::core
