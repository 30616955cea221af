// Between the memory of the CPU and that of a device. The host waits for no upload, and for one download at a time.
#pragma once

#include <c10/core/Event.h>

#include <functional>
#include <optional>
#include <vector>

#include "core/torch.h"

namespace soundspot::core {

/// Samples of one shape as a batch [B, …] on the CPU, in memory that `device` copies from without the host's help. It
/// is their own memory where they are the rows of a batch, in its order.
Tensor stacked(const std::vector<Tensor>& samples, at::Device device);

/// A tensor of the CPU on `device`, ready for the work that this thread starts there; the same tensor for the CPU. The
/// host does not wait.
Tensor to_device(const Tensor& tensor, at::Device device);

/// Tensors of one device on the CPU, by one transfer for each type among them. Undefined ones stay so.
std::vector<Tensor> to_host(const std::vector<Tensor>& tensors);

/// Tensors of the CPU on their way to a device, beside the work that goes on there.
class Upload {
 public:
  /// `then` makes of them what is taken, there, beside that work; on the CPU at once.
  Upload(const std::vector<Tensor>& tensors, at::Device device,
         const std::function<std::vector<Tensor>(std::vector<Tensor>)>& then);

  /// On the device, in the same order, once; none after that. The work that this thread starts there waits for them,
  /// the host does not.
  std::vector<Tensor> take();

 private:
  std::vector<Tensor> tensors_;
  std::optional<c10::Event> arrived_;  // none on the CPU
};

}  // namespace soundspot::core
