// Gradients averaged over processes while the backward pass goes on, by c10d's Reducer.
#pragma once

#include "distributed/process_group.h"
#include "model/parameters.h"

namespace c10d {
class Reducer;
}

namespace soundspot::distributed {

class GradientReducer {
 public:
  /// Of every parameter that takes gradients, in buckets.
  GradientReducer(const c10::intrusive_ptr<ProcessGroup>& group, const model::Parameters& parameters);
  ~GradientReducer();

  /// To be called before the backward pass from `roots`, at whose end gradients are the mean over processes. Gradients
  /// of backward passes without this call are added up, and go into the mean of the next one with it.
  void prepare(const std::vector<Tensor>& roots);

 private:
  std::unique_ptr<c10d::Reducer> reducer_;
};

}  // namespace soundspot::distributed
