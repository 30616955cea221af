#define USE_C10D_NCCL  // which the headers of LibTorch's packages leave to who includes them
#include "distributed/nccl.h"

#include <cstdlib>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "core/gpus.h"

namespace soundspot::distributed {

void add_nccl(c10d::ProcessGroup& group, const c10::intrusive_ptr<c10d::Store>& store,
              std::chrono::milliseconds timeout) {
  if (!core::first_usable_gpu()) return;  // its constructor throws then; the group trains on Gloo
  // Otherwise its watchdog ends the whole Node process where a process is lost; so `wait` throws.
  setenv("TORCH_NCCL_BLOCKING_WAIT", "1", /*overwrite=*/0);
  const auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeout;
  const auto nccl = c10::make_intrusive<c10d::ProcessGroupNCCL>(store, group.getRank(), group.getSize(), options);
  group.setBackend(c10::DeviceType::CUDA, c10d::ProcessGroup::BackendType::NCCL, nccl);
}

}  // namespace soundspot::distributed
