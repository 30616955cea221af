// One training step of any method: forward, losses, backward, clipping, optimizer. A batch too large for memory goes
// through the model in parts; its losses are still those of the whole batch.
#pragma once

#include "distributed/gradient_reducer.h"
#include "methods/localizer.h"
#include "training/optimizer.h"
#include "training/recorded_steps.h"

namespace soundspot::training {

struct StepOptions {
  AdamOptions optimizer;
  std::vector<methods::WeightedLoss> losses;  // those of weight 0 are left out
  int64_t false_negative_k = 20;              // 0: none are looked for
  double clip = 0;                            // greatest L2 norm of the whole gradient; 0: no clipping
  core::Compute compute;
  bool masking = true;
  int64_t micro_batch = 0;         // samples of a forward and backward pass at a time; 0: the whole batch
  bool frozen_statistics = false;  // batch norm by the running statistics, which stay as they are
  bool local_contrast = false;     // losses compare the samples of this process alone
  bool shared_statistics = false;  // batch norm by the statistics of all processes' samples
  bool plain = false;              // LibTorch's own operators in place of the fused kernels, to compare with
  bool keep_gradients = false;
  bool update = true;  // false: losses and gradients only, no optimizer step
  bool stop = false;   // this process asks all others to end the run after this step
};

using NamedNumbers = std::vector<std::pair<std::string, double>>;

struct StepResult {
  NamedNumbers losses;       // each unweighted, and last "total"
  NamedNumbers diagnostics;  // other values of the method for a log
  double gradient_norm = 0;  // before clipping
  bool stop = false;         // a process asked for the end
  core::NamedTensors gradients;
};

/// The state of a training run inside the addon: optimizer and place in the sequence of draws, for one model.
class TrainingState {
 public:
  /// With a group, each of its processes has a state of its own, of the same model and seed, and an equal part of every
  /// batch: the losses are those of the whole batch, and all take the same step.
  TrainingState(std::shared_ptr<methods::Localizer> localizer, uint64_t seed,
                c10::intrusive_ptr<distributed::ProcessGroup> group = {});

  /// @throws Error ERR_INTERNAL when the loss is not finite; the parameters are then unchanged. ERR_CONFIG when the
  /// method has no such loss. ERR_DISTRIBUTED when another process is lost; they are then not to be used.
  StepResult step(const methods::Views& views, const StepOptions& options);

  /// Optimizer moments, seed and steps, to be saved beside the parameters.
  core::NamedTensors state() const;
  /// @throws Error ERR_CHECKPOINT_MISMATCH when they are not the state of a run of this model; nothing is changed then.
  void restore(const core::NamedTensors& tensors);

  /// Of rank 0 to every process of the group: the running statistics, or with them parameters, moments and draws.
  void broadcast(bool statistics_alone);

  const std::shared_ptr<methods::Localizer>& localizer() const { return localizer_; }

 private:
  StepResult take_step(const methods::Views& views, const StepOptions& options);
  /// Forward and backward: losses, gradients, and what is to be read.
  Outcome differentiate(const methods::Views& views, const StepOptions& options, const core::Draws& draws);
  /// The same and the update, on another device than the CPU.
  Outcome work_on_device(const methods::Views& views, const StepOptions& options);
  /// Waits for the outcome.
  /// @throws as `step` for values that are not finite.
  StepResult read(Outcome& outcome, const StepOptions& options);

  std::shared_ptr<methods::Localizer> localizer_;
  Adam optimizer_;
  uint64_t seed_, steps_ = 0;
  c10::intrusive_ptr<distributed::ProcessGroup> group_;
  std::unique_ptr<distributed::GradientReducer> reducer_;
  Tensor learning_rate_;  // on the device, of steps that it repeats
  RecordedSteps recorded_;
};

}  // namespace soundspot::training
