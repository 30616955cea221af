#include "kernels/cuda/functions.h"
#include "kernels/cuda/host.h"
#include "verify/kernels.h"

namespace soundspot::verify {
namespace {

struct Recordless : kernels::cuda::Host {
  using kernels::cuda::Host::Host;

  static std::unique_ptr<kernels::Recording> record(at::Device /*device*/, const std::function<void()>& /*work*/,
                                                    const kernels::Recording* /*beside*/) {
    return nullptr;
  }
};

}  // namespace

const Kernels& host_kernels() {
  static const kernels::cuda::KernelsBy<Recordless> kernels;
  return kernels;
}

}  // namespace soundspot::verify
