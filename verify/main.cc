// verify [kernels] [steps] [timings] [--json FILE] [--device cuda:0] [--small] [--host] [--help]
#include <torch/version.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <regex>

#include "core/device.h"
#include "core/error.h"
#include "core/gpus.h"
#include "core/precision.h"
#include "verify/steps.h"
#include "verify/timings.h"

namespace soundspot::verify {
namespace {

constexpr int kPassed = 0, kFailed = 1, kNothingDone = 2;

constexpr char kUsage[] =
    R"(Verifies the GPU path of soundspot on an NVIDIA GPU.

usage: verify [STAGE ...] [options]

stages, all of them by default:
  kernels   every kernel, forward and backward, against LibTorch's operators in double on the CPU
  steps     a training step of each method, against LibTorch's operators in float32 on the CPU
  timings   every kernel and whole training steps, against LibTorch's operators on the same GPU

options:
  --json FILE     writes all figures, too
  --device NAME   such as cuda:1; default the first GPU that can be used
  --small         small sizes of the kernels alone, as for compute-sanitizer
  --host          needs no GPU: runs the kernels' source on the host, block by block, at small sizes, and the steps by
                  the fused kernels for the CPU. Without timings.
  --help          prints this

The exit code is 0 where all checks passed, 1 where one failed, and 2 where nothing was verified: there is no GPU, or
an argument is wrong. `compute-sanitizer verify kernels --small` looks for wrong addresses meanwhile.
)";

struct Arguments {
  std::vector<std::string> stages;
  std::string json, device = "cuda";
  bool host = false, small = false, help = false;

  bool has(const std::string& stage) const { return std::find(stages.begin(), stages.end(), stage) != stages.end(); }
};

/// @throws Error that says what is wrong.
Arguments parsed(const std::vector<std::string>& all) {
  const std::vector<std::string> known{"kernels", "steps", "timings"};
  Arguments arguments;
  bool device = false;
  for (size_t i = 0; i < all.size(); ++i) {
    const auto value = [&] {
      if (i + 1 == all.size() || all[i + 1].empty()) throw Error("ERR_INPUT", all[i] + " needs a value.");
      return all[++i];
    };
    if (all[i] == "--json") {
      arguments.json = value();
    } else if (all[i] == "--device") {
      arguments.device = value();
      device = true;
    } else if (all[i] == "--host") {
      arguments.host = true;
    } else if (all[i] == "--small") {
      arguments.small = true;
    } else if (all[i] == "--help" || all[i] == "-h") {
      arguments.help = true;
    } else if (std::find(known.begin(), known.end(), all[i]) != known.end()) {
      if (!arguments.has(all[i])) arguments.stages.push_back(all[i]);
    } else {
      throw Error("ERR_INPUT", "There is no stage or option " + all[i] + ": `verify --help` lists them.");
    }
  }
  if (arguments.host && (device || arguments.has("timings"))) {
    throw Error("ERR_INPUT", "--host has neither a device nor timings.");
  }
  if (arguments.stages.empty()) {
    arguments.stages = known;
    if (arguments.host) arguments.stages.pop_back();
  }
  return arguments;
}

/// The driver's own version, such as 580.65.06; empty where its file is not there.
std::string driver_version() {
  std::ifstream file("/proc/driver/nvidia/version");
  std::string line;
  std::getline(file, line);
  std::smatch found;
  return std::regex_search(line, found, std::regex(R"(\b(\d+\.\d+(\.\d+)?)\b)")) ? found[1].str() : "";
}

Description describe(at::Device device, bool host) {
  Description machine{{"device", host ? "host" : device.str()}};
  if (!host) {
    const core::Gpu& gpu = core::gpus().list[static_cast<size_t>(device.index())];
    machine.emplace_back("gpu", gpu.name);
    machine.emplace_back("computeCapability", std::to_string(gpu.major) + "." + std::to_string(gpu.minor));
    machine.emplace_back("memoryMiB", std::to_string(gpu.memory >> 20));
    machine.emplace_back("driver", driver_version());
    machine.emplace_back("cudaOfDriver", core::gpus().driver);
  }
  machine.emplace_back("cuda", core::gpus().built);
  machine.emplace_back("libtorch", TORCH_VERSION);
  machine.emplace_back("architectures", SOUNDSPOT_CUDA_ARCHITECTURES);
  return machine;
}

/// The first GPU that can be used, or the one of that name.
at::Device gpu_named(const std::string& name) {
  if (!core::first_usable_gpu()) throw Error("ERR_DEVICE", "There is no GPU to verify on. " + core::gpus().problem);
  const at::Device device = name == "cuda" ? core::find_device("auto") : core::find_device(name);
  if (!device.is_cuda()) throw Error("ERR_DEVICE", name + " is no NVIDIA GPU.");
  return device;
}

void run_stages(const Arguments& arguments, const Subject& subject, Report& report) {
  for (const std::string& stage : arguments.stages) {
    report.begin(stage);
    // As a step does it: float32 is not multiplied as TF32.
    const core::DeviceProducts products({subject.device, core::Precision::kFloat32});
    if (stage == "kernels") {
      for (const auto& verify_some : {verify_batch_norm, verify_slots, verify_maps, verify_optimizer, verify_augment}) {
        verify_some(subject, report);
      }
    } else if (stage == "steps") {
      verify_steps(subject.device, report);
    } else {
      time_kernels(subject, report);
    }
    report.end();
  }
}

int run(const std::vector<std::string>& all) {
  Arguments arguments;
  at::Device device = at::kCPU;
  try {
    arguments = parsed(all);
    if (arguments.help) {
      std::printf("%s", kUsage);
      return kPassed;
    }
    if (!arguments.host) device = gpu_named(arguments.device);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return kNothingDone;
  }
  const c10::DeviceGuard guard(device);
  const Description machine = describe(device, arguments.host);
  for (const auto& [name, value] : machine) std::printf("%s: %s\n", name.c_str(), value.c_str());
  Report report(machine);
  const Kernels* const kernels = arguments.host ? &host_kernels() : kernels::kernels_of(device);
  if (kernels == nullptr) throw std::runtime_error("This build has no kernels for " + device.str() + ".");
  run_stages(arguments, {*kernels, device, arguments.host || arguments.small}, report);
  report.summarize();
  if (!arguments.json.empty()) write_file(arguments.json, report.json());
  return report.passed() ? kPassed : kFailed;
}

}  // namespace
}  // namespace soundspot::verify

int main(int count, char** values) {
  try {
    return soundspot::verify::run({values + 1, values + count});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
