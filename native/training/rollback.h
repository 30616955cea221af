// Changes of a forward pass outside of the gradients: undone unless the step is taken.
#pragma once

#include <map>

#include "core/parameters.h"

namespace soundspot::training {

/// Holds copies of all parameters that no optimizer moves, and restores them when it goes out of scope.
class Rollback {
 public:
  explicit Rollback(const core::Parameters& parameters) {
    for (const core::Parameter& parameter : parameters.all()) {
      if (parameter.trainable || parameter.unused) continue;
      kept_[parameter.value.scalar_type()].add(parameter.value);
    }
    for (auto& [type, kept] : kept_) kept.before = at::cat(kept.values);
  }
  ~Rollback() {
    if (taken_) return;
    const at::NoGradGuard no_grad;
    try {
      for (const auto& [type, kept] : kept_) kept.put(kept.before);
    } catch (const std::exception&) {
      // The device takes no more work, as when what cannot be recorded ends a recording: then nothing was changed.
    }
  }
  Rollback(const Rollback&) = delete;
  Rollback& operator=(const Rollback&) = delete;

  void keep_changes() { taken_ = true; }

  /// The changes are to stay where `taken`, a bool on their device, is true: the host does not know. All memory that
  /// this needs is there when it returns.
  void choose(const Tensor& taken) {
    const at::NoGradGuard no_grad;
    for (auto& [type, kept] : kept_) kept.chosen = at::where(taken, at::cat(kept.values), kept.before);
  }
  /// As chosen.
  void keep_chosen() {
    const at::NoGradGuard no_grad;
    for (const auto& [type, kept] : kept_) kept.put(kept.chosen);
    taken_ = true;
  }

 private:
  /// Parameters of one type.
  struct Kept {
    std::vector<Tensor> values;  // each in the order of its memory, [n]
    std::vector<int64_t> lengths;
    Tensor before, chosen;  // all in a row

    void add(const Tensor& value) {
      TORCH_CHECK(value.is_non_overlapping_and_dense(), "A parameter has holes.");
      values.push_back(value.as_strided({value.numel()}, {1}));
      lengths.push_back(value.numel());
    }
    void put(const Tensor& all) const { at::_foreach_copy_(values, all.split_with_sizes(lengths)); }
  };

  std::map<at::ScalarType, Kept> kept_;
  bool taken_ = false;
};

}  // namespace soundspot::training
