// The GPU's kernels for the device of the tests: everything that a GPU's model goes through, without a GPU, with each
// kernel run on the host, block by block.
//   provideKernels(whether): from now on the device has them, or has them no longer
//   takeLaunches() → { name of a kernel: launches since the last call }
#include <cxxabi.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <typeinfo>

#include "binding/functions.h"
#include "host_device.h"
#include "kernels/cuda/functions.h"
#include "kernels/cuda/host.h"

namespace soundspot::testing {
namespace {

namespace cuda = kernels::cuda;

/// Launches by kernel.
class Launches {
 public:
  void add(const std::type_info& kernel) {
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> whole(
        abi::__cxa_demangle(kernel.name(), nullptr, nullptr, &status), &std::free);
    // Without namespaces and what a template was made for.
    std::string name = whole ? whole.get() : kernel.name();
    name = name.substr(0, name.find('<'));
    if (const size_t colons = name.rfind("::"); colons != std::string::npos) name = name.substr(colons + 2);
    const std::lock_guard lock(mutex_);
    ++all_[name];
  }
  std::map<std::string, int> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(all_, {});
  }

 private:
  std::mutex mutex_;
  std::map<std::string, int> all_;
};

Launches launches;

/// In place of a recording the work itself, whose results it makes anew.
class Replay final : public kernels::Recording {
 public:
  explicit Replay(std::function<void()> work) : work_(std::move(work)) {}
  void replay() override {
    launches.add(typeid(Replay));
    const auto before = std::pair(waits_so_far(), uploads_so_far());
    work_();
    TORCH_CHECK(std::pair(waits_so_far(), uploads_so_far()) == before, "a recording reads nothing and gets nothing");
  }

 private:
  const std::function<void()> work_;
};

/// The launcher of the test device.
class TestDevice {
 public:
  explicit TestDevice(const Tensor& like) {
    TORCH_CHECK(on_test_device(like), "a tensor on the test device was expected, not on ", like.device());
  }

  template <class Kernel>
  void launch(const cuda::Grid& grid, const Kernel& kernel) const {
    launches.add(typeid(Kernel));
    const KernelAccess access;
    cuda::Host::launch(grid, kernel);
  }
  template <class Kernel>
  void launch_cooperative(int64_t stages, const cuda::Grid& grid, const Kernel& kernel) const {
    launches.add(typeid(Kernel));
    const KernelAccess access;
    cuda::Host::launch_cooperative(stages, grid, kernel);
  }
  static std::unique_ptr<kernels::Recording> record(at::Device, const std::function<void()>& work,
                                                    const kernels::Recording*) {
    const size_t waits = waits_so_far();
    work();
    TORCH_CHECK(waits_so_far() == waits, "what waits for the device cannot be recorded");
    return std::make_unique<Replay>(work);
  }

  template <class Kernel>
  int64_t most_blocks(int64_t shared) const {
    return cuda::Host::most_blocks<Kernel>(shared);
  }
};

const cuda::KernelsBy<TestDevice> functions;

void register_functions(Napi::Env env, Napi::Object exports) {
  const auto provide = [](const Napi::CallbackInfo& call) {
    kernels::provide(at::kPrivateUse1, call[0].As<Napi::Boolean>().Value() ? &functions : nullptr);
  };
  const auto take = [](const Napi::CallbackInfo& call) -> Napi::Value {
    Napi::Object counts = Napi::Object::New(call.Env());
    for (const auto& [name, count] : launches.take()) counts.Set(name, count);
    return counts;
  };
  exports.Set("provideKernels", Napi::Function::New(env, provide, "provideKernels"));
  exports.Set("takeLaunches", Napi::Function::New(env, take, "takeLaunches"));
}

const bool registered = (binding::further().push_back(&register_functions), true);

}  // namespace
}  // namespace soundspot::testing
