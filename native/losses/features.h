// The losses' inputs from a method's forward pass: tensors by name, each with the batch first. A training step joins
// the parts of a batch without knowing what they are.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/torch.h"

namespace soundspot::losses {

class Features {
 public:
  /// Appends `value` [B, …], floating point; the name must be new.
  void add(const std::string& name, Tensor value) { items_.emplace_back(name, std::move(value)); }

  bool has(const std::string& name) const { return find(name) != nullptr; }

  /// @throws Error ERR_INTERNAL when there is none of that name.
  const Tensor& operator[](const std::string& name) const;

  const std::vector<std::pair<std::string, Tensor>>& items() const { return items_; }

  /// The parts of a batch as one: leaves that take gradients.
  static Features joined(const std::vector<Features>& parts);

 private:
  const Tensor* find(const std::string& name) const;

  std::vector<std::pair<std::string, Tensor>> items_;
};

}  // namespace soundspot::losses
