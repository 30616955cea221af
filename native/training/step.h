// One training step: forward, losses, false negatives, backward, clipping, AdamW. A batch too large for memory goes
// through the model in parts; its losses are still those of the whole batch.
#pragma once

#include "model/localizer.h"
#include "training/optimizer.h"

namespace soundspot::training {

struct WeightedLoss {
  std::string name;
  double weight;
  double temperature;  // contrastive losses only
};

struct StepOptions {
  AdamWOptions optimizer;
  std::vector<WeightedLoss> losses;  // those of weight 0 are left out
  int64_t false_negative_k = 20;     // 0: none are looked for
  double clip = 0;                   // greatest L2 norm of the whole gradient; 0: no clipping
  bool bfloat16 = false;
  bool masking = true;
  int64_t micro_batch = 0;         // samples of a forward and backward pass at a time; 0: the whole batch
  bool frozen_statistics = false;  // batch norm by the running statistics, which stay as they are
  bool plain = false;              // LibTorch's own operators in place of the fused kernels, to compare with
  bool keep_gradients = false;
  bool update = true;  // false: losses and gradients only, no optimizer step
};

/// How selective the target attention of a modality is.
struct AttentionStatistics {
  double entropy = 0;  // of the target row over tokens, divided by log N: 1 is uniform
  double spread = 0;   // standard deviation over tokens times N: 0 is uniform
};

struct StepResult {
  std::map<std::string, double> losses;  // each unweighted, and "total"
  double gradient_norm = 0;              // before clipping
  bool has_attention = false;
  AttentionStatistics image, audio;
  int64_t false_negatives = 0;  // excluded ordered pairs
  std::vector<std::pair<std::string, Tensor>> gradients;
};

/// The state of a training run inside the addon: optimizer and random numbers for one model.
class TrainingState {
 public:
  TrainingState(std::shared_ptr<model::Localizer> localizer, uint64_t seed);

  /// Pictures [B, 3, size, size], spectrograms [B, 1, F, T].
  /// @throws Error ERR_INTERNAL when the loss is not finite; the parameters are then unchanged.
  StepResult step(const Tensor& images, const Tensor& spectrograms, const StepOptions& options);

  /// Optimizer moments and the random state, to be saved beside the parameters.
  std::vector<std::pair<std::string, Tensor>> state() const;
  /// @throws Error ERR_CHECKPOINT_MISMATCH when they are not the state of a run of this model; nothing is changed then.
  void restore(const std::vector<std::pair<std::string, Tensor>>& tensors);

  const std::shared_ptr<model::Localizer>& localizer() const { return localizer_; }

 private:
  std::shared_ptr<model::Localizer> localizer_;
  AdamW optimizer_;
  at::Generator generator_;
};

}  // namespace soundspot::training
