// The device for tests, as its kernels need it.
#pragma once

#include "core/torch.h"

namespace soundspot::testing {

/// While one lives, the addresses of the device's tensors can be read and written, as by a kernel that runs there.
class KernelAccess {
 public:
  KernelAccess();
  ~KernelAccess();
  KernelAccess(const KernelAccess&) = delete;
  KernelAccess& operator=(const KernelAccess&) = delete;
};

bool on_test_device(const Tensor& tensor);

/// What takeWaits() would give.
size_t waits_so_far();
/// Copies from the CPU to the device, those too that nobody waits for, but for single numbers.
size_t uploads_so_far();

}  // namespace soundspot::testing
