// Named parameters and buffers of a model, in the published order.
#pragma once

#include <unordered_map>

#include "core/torch.h"

namespace soundspot::core {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

struct Parameter {
  std::string name;
  Tensor value;
  bool trainable;       // false for running statistics and averages
  bool unused = false;  // stored with the model alone
};

class Parameters {
 public:
  /// Appends a tensor; a trainable one gets requires_grad. The name must be new.
  void add(const std::string& name, Tensor value, bool trainable = true);

  /// Appends a tensor that a file has and no computation uses. The name must be new.
  void add_unused(const std::string& name, Tensor value);

  /// The tensor of that name is no longer for the optimizer: no gradient, and a step that fails puts it back.
  /// @throws Error ERR_INTERNAL when there is no such name.
  void exclude_from_training(const std::string& name);

  bool has(const std::string& name) const { return index_.count(name) > 0; }

  /// @throws Error ERR_INTERNAL when there is no such name.
  const Tensor& operator[](const std::string& name) const;

  const std::vector<Parameter>& all() const { return all_; }

  /// @throws Error ERR_CHECKPOINT_MISMATCH when a name is unknown or a shape differs.
  void check(const NamedTensors& tensors) const;

  /// Copies `source` into the tensor of that name, in place; the same errors. A tensor that was freed gets memory.
  void assign(const std::string& name, const Tensor& source);

  /// Frees the memory of the tensor of that name: until something is assigned, its shape is all there is, and LibTorch
  /// throws where its values are read. Copies of these parameters keep theirs.
  void free(const std::string& name);
  bool freed(const std::string& name) const { return (*this)[name].is_meta(); }

  /// Elements of trainable tensors whose name starts with `prefix`.
  int64_t count(const std::string& prefix = "") const;

 private:
  std::vector<Parameter> all_;
  std::unordered_map<std::string, size_t> index_;
};

/// A mark for each tensor of floating point, [n] float64 on the tensors' device: 0 where all its values are finite as a
/// float32, else not finite. The device is not waited for.
Tensor finite_marks(const std::vector<Tensor>& tensors, at::Device device);

/// The name of the first tensor that holds a value which is not finite as a float32; null when none does. Integers are.
const std::string* first_not_finite(const NamedTensors& tensors);

}  // namespace soundspot::core
