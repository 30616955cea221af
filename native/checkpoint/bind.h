// Which tensor of a file is which parameter of a model: by name and shape, for checkpoints of any format and origin.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/state.h"

namespace soundspot::checkpoint {

/// A tensor that a model declares.
struct Declared {
  std::string name;  // in files
  std::vector<int64_t> sizes;
  std::string parameter;  // in the model
  bool optional = false;  // a file may lack it
};

/// A file's tensors for a model.
struct Binding {
  struct Bound {
    std::string parameter;
    std::string name;  // in the file, with its prefixes
    at::Tensor tensor;
  };
  struct MisShaped {
    std::string parameter;
    std::string name;  // in the file
    std::vector<int64_t> sizes;
    std::vector<int64_t> declared;
  };

  std::string key;                      // of the group that was taken; "" at the file's top
  std::vector<std::string> other_keys;  // of groups that were skipped
  std::vector<Bound> bound;             // of the declared shape, in the order of the file
  std::vector<MisShaped> mis_shaped;
  std::vector<std::string> missing;  // parameters without a tensor, but for optional ones, in the order of declaration
  std::vector<std::string> absent;   // optional ones without a tensor
  std::vector<std::string>
      unknown;  // names in the file that are no parameter's; "key/name" below the key of a skipped group
  std::vector<std::string>
      foreign;  // those of `unknown` in the group that was taken that lie below the model's own parts

  /// @throws Error ERR_CHECKPOINT_MISMATCH that names the first tensor of another shape.
  void check_shapes() const;
  /// @throws Error ERR_CHECKPOINT_MISMATCH when a tensor has another shape, lies in a part of the model that has no
  /// place
  ///         for it, or is missing. Only counters of batch norm may be missing.
  void check_complete() const;
};

/// Finds the declared tensors among those of a file. A name counts without the prefixes `module.`, `_orig_mod.` and
/// `model.`, which data parallelism, compilers and training frameworks put before names in any order and number, where
/// the rest is declared and the whole is not. The first group with a declared name is taken; without one, the first.
/// @throws Error ERR_CHECKPOINT_MISMATCH when two tensors of that group are one parameter, and ERR_CHECKPOINT_CORRUPT
///         when it is no proper state dict.
Binding bind(const State& state, const std::vector<Declared>& declared);

}  // namespace soundspot::checkpoint
