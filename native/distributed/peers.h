// The processes that share a batch, as the model, the kernels and the losses see them.
#pragma once

#include <ATen/core/ivalue.h>

#include "core/torch.h"

namespace soundspot::distributed {

/// Each process holds an equal part of the batch, in the order of their ranks. Every function is a collective: all
/// processes call the same ones in the same order.
/// @throws Error ERR_DISTRIBUTED when a process has ended or does not answer in time.
class Peers : public torch::CustomClassHolder {
 public:
  virtual int64_t rank() const = 0;
  virtual int64_t size() const = 0;

  /// The sum over all processes, in place. Contiguous.
  virtual void sum(const Tensor& values) = 0;
  /// Rows [n, …] of all processes: [size · n, …].
  virtual Tensor gather(const Tensor& rows) = 0;
};

/// Null where there is one process only.
using PeersPointer = c10::intrusive_ptr<Peers>;

/// Rows of all processes, with gradients; `rows` itself without peers. What follows is computed by every process alike:
/// with gradients averaged over processes, as theirs are, the loss counts once.
Tensor gathered(const Tensor& rows, const PeersPointer& peers);

}  // namespace soundspot::distributed
