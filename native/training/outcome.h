// What a step's work on the device leaves for the host.
#pragma once

#include "core/parameters.h"
#include "distributed/process_group.h"

namespace soundspot::training {

/// Everything that is read from the device in a step, in one transfer; means over the processes of a group.
class Reading {
 public:
  void add(const Tensor& scalar) { values_.push_back(scalar.detach().to(at::kDouble).reshape({1})); }

  /// Values [n] float64, after all others: the step is taken where every one of every process is finite.
  void add_deciding(const Tensor& values) {
    deciding_.push_back(values.detach());
    deciders_ += values.size(0);
  }

  /// Means over the processes; nothing is added after it.
  void share(const c10::intrusive_ptr<distributed::ProcessGroup>& group) {
    values_.insert(values_.end(), deciding_.begin(), deciding_.end());
    joined_ = at::cat(values_);
    values_.clear();
    deciding_.clear();
    if (!group) return;
    group->sum(joined_);
    joined_.div_(group->size());
  }

  /// Whether all deciding values are finite: a bool that stays on the device.
  Tensor all_finite() const { return joined_.narrow(0, joined_.size(0) - deciders_, deciders_).isfinite().all(); }

  void read() {
    next_ = (read_ = joined_.to(at::kCPU)).const_data_ptr<double>();  // the one read
  }
  /// In the order in which they were added.
  double next() { return *next_++; }

 private:
  std::vector<Tensor> values_, deciding_;
  int64_t deciders_ = 0;
  Tensor joined_, read_;
  const double* next_ = nullptr;
};

struct Outcome {
  Reading reading;  // losses, diagnostics; deciding: their sum, the gradients' norm, a mark for each moved tensor
  std::vector<std::string> losses, diagnostics, moved;
  Tensor norm;  // of the gradients, [1] float64
  core::NamedTensors kept_gradients;
  std::vector<std::string> first_moments;  // of parameters that it was the optimizer's first step of
};

}  // namespace soundspot::training
