// Changes of a forward pass outside of the gradients: undone unless the step is taken.
#pragma once

#include "core/parameters.h"

namespace soundspot::training {

/// Holds copies of all parameters that no optimizer moves, and restores them when it goes out of scope.
class Rollback {
 public:
  explicit Rollback(const core::Parameters& parameters) {
    for (const core::Parameter& parameter : parameters.all()) {
      if (!parameter.trainable && !parameter.unused) kept_.emplace_back(parameter.value, parameter.value.clone());
    }
  }
  ~Rollback() {
    if (taken_) return;
    const at::NoGradGuard no_grad;
    for (auto& [value, before] : kept_) value.copy_(before);
  }
  Rollback(const Rollback&) = delete;
  Rollback& operator=(const Rollback&) = delete;

  void keep_changes() { taken_ = true; }

 private:
  std::vector<std::pair<Tensor, Tensor>> kept_;
  bool taken_ = false;
};

}  // namespace soundspot::training
