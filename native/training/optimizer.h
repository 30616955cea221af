// Adam and AdamW, their state by parameter name.
#pragma once

#include "core/parameters.h"

namespace soundspot::training {

struct AdamOptions {
  double learning_rate = 5e-5;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;
  bool coupled = false;  // decay is a part of the gradient (Adam with L2 decay), not of the step (AdamW)
};

/// What a step depends on that is on the device of the parameters alone, on another device than the CPU. All are
/// 0-dimensional.
struct Condition {
  Tensor taken;          // bool: whether parameters and state change; undefined: they do
  Tensor divisor;        // float32, of the gradients; undefined: none
  Tensor learning_rate;  // float32, in place of AdamOptions::learning_rate, where a step is repeated; else undefined
};

class Adam {
 public:
  /// One step on every trainable parameter that has a gradient.
  /// @returns the names of parameters that this was the first step of, for `forget` where it turns out not taken.
  std::vector<std::string> step(const core::Parameters& parameters, const AdamOptions& options,
                                const Condition& condition = {});

  /// Drops the state of parameters.
  void forget(const std::vector<std::string>& names);

  /// Moments and step counts as `optimizer.{exp_avg,exp_avg_sq,step}.NAME`.
  core::NamedTensors state() const;

  /// Restores the result of state(); other names are ignored. All or nothing.
  /// @throws Error ERR_CHECKPOINT_MISMATCH when it is not the state of an optimizer of these parameters,
  /// ERR_CHECKPOINT_CORRUPT when no optimizer can have come to it: not finite, or negative squares.
  void restore(const core::Parameters& parameters, const core::NamedTensors& tensors);

  /// Steps that the parameter with the most of them has taken.
  uint64_t steps() const;

  /// Zeros of the shape that the state has under a name that state() gave.
  static Tensor blank(const core::Parameters& parameters, const std::string& name);

 private:
  struct Moments {
    Tensor mean, square, step;
  };
  using State = std::map<std::string, Moments>;

  static void check(const core::Parameters& parameters, const State& state);

  State moments_;
};

}  // namespace soundspot::training
