// Gradients averaged over processes while the backward pass goes on, by c10d's Reducer.
#pragma once

#include <c10/util/Exception.h>

#include "core/parameters.h"
#include "distributed/process_group.h"

namespace c10d {
class Reducer;
}

namespace soundspot::distributed {

/// Suppresses LibTorch's warnings on this thread: hints on the speed of its reducer, of no use to users.
class NoWarnings {
 public:
  NoWarnings() : guard_(&handler_) {}

 private:
  struct Silent final : c10::WarningHandler {
    void process(const c10::Warning&) override {}
  };
  Silent handler_;
  c10::WarningUtils::WarningHandlerGuard guard_;
};

class GradientReducer {
 public:
  /// Of every parameter that takes gradients, in buckets.
  GradientReducer(const c10::intrusive_ptr<ProcessGroup>& group, const core::Parameters& parameters);
  ~GradientReducer();

  /// To be called before the backward pass from `roots`, at whose end gradients are the mean over processes. Gradients
  /// of backward passes without this call are added up, and go into the mean of the next one with it.
  void prepare(const std::vector<Tensor>& roots);

 private:
  std::unique_ptr<c10d::Reducer> reducer_;
};

}  // namespace soundspot::distributed
