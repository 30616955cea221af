// What GPUs provide: every kernel on tensors, on the current stream of their GPU.
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include "kernels/cuda/functions.h"
#include "kernels/cuda/graph.h"
#include "kernels/cuda/launch.h"

namespace soundspot::kernels::cuda {

namespace {

/// The launcher of the GPU that holds a tensor.
class Device {
 public:
  explicit Device(const Tensor& like)
      : guard_(like.device()),
        stream_(c10::impl::getDeviceGuardImpl(at::kCUDA)->getStream(like.device()).native_handle()) {
    TORCH_CHECK(like.is_cuda(), "a tensor on a GPU was expected, not on ", like.device());
  }

  template <class Kernel>
  void launch(const Grid& grid, const Kernel& kernel) const {
    launch_on(stream_, grid, kernel);
  }
  template <class Kernel>
  void launch_cooperative(int64_t stages, const Grid& grid, const Kernel& kernel) const {
    launch_cooperative_on(stream_, stages, grid, kernel);
  }
  template <class Kernel>
  int64_t most_blocks(int64_t shared) const {
    return most_blocks_of<Kernel>(shared);
  }

  static std::unique_ptr<Recording> record(at::Device device, const std::function<void()>& work,
                                           const Recording* beside) {
    return record_graph(device, work, beside);
  }

 private:
  const c10::DeviceGuard guard_;
  void* const stream_;
};

const KernelsBy<Device> functions;
const bool provided = (provide(at::kCUDA, &functions), true);

}  // namespace

}  // namespace soundspot::kernels::cuda
