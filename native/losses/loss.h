// The interface of a loss. A loss is one file that registers itself by name; methods that may train with it list the
// name in src/config/methods.ts.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "distributed/peers.h"
#include "losses/features.h"

namespace soundspot::losses {

/// The inputs of a loss.
struct LossInputs {
  const Features& features;
  int64_t targets;                         // target slots, where there are slots: the first ones
  double temperature;                      // τ of the contrastive losses
  const Tensor& excluded;                  // [B, B] bool, predicted false negatives; undefined when none are looked for
  const distributed::PeersPointer& peers;  // who has the rest of the batch; null where `outputs` are all of it

  /// Rows of this process's samples, as those of the whole batch. Comparisons between samples need it.
  Tensor whole(const Tensor& rows) const { return distributed::gathered(rows, peers); }
};

struct Loss {
  std::vector<std::string> needs;                    // features by name; a method that gives them can use the loss
  std::function<Tensor(const LossInputs&)> compute;  // a scalar
};

/// All losses by name.
std::map<std::string, Loss>& registry();

/// @throws Error ERR_CONFIG naming the known losses when there is none of that name.
const Loss& find_loss(const std::string& name);

/// Registers a loss when the addon is loaded: `const Register registered{"name", {…}, compute};`
struct Register {
  Register(const std::string& name, std::vector<std::string> needs, std::function<Tensor(const LossInputs&)> compute);
};

/// Target slots of slots [B, S, D], each of length 1, in a row: [B, T·D].
Tensor target_vectors(const Tensor& slots, int64_t target_slots);

/// Similarity [B, B] of target vectors, rows images and columns audio: cosine, averaged over target slots in order.
Tensor target_similarity(const Tensor& rows, const Tensor& columns, int64_t target_slots);

/// CE(S/τ) + CE(Sᵀ/τ) with the diagonal as targets (Eq. 7); excluded pairs count as −∞ in both directions.
Tensor symmetric_cross_entropy(const Tensor& similarity, double temperature, const Tensor& excluded);

}  // namespace soundspot::losses
