// A computation that is done twice: by a kernel, and in double by LibTorch's operators on the CPU.
#pragma once

#include <functional>

#include "core/torch.h"
#include "verify/kernels.h"
#include "verify/report.h"

namespace soundspot::verify {

/// An input in double; its values are those that `type` has.
struct Input {
  std::string name;
  Tensor value;
  at::ScalarType type = at::kFloat;
  bool differentiable = true;

  /// Rounds `value` to `type`.
  Input(std::string given, const Tensor& unrounded, at::ScalarType as = at::kFloat, bool gradient = true);
};

struct Output {
  std::string name;
  Tensor value;
  /// Where gradients come from, bool; undefined: everywhere. Within rounding of ReLU's edge the gradients of either
  /// side are right, and an exact computation leaves such places out.
  Tensor counted = {};
};

/// The outputs of inputs, in their order. Those that have a gradient get one.
using Function = std::function<std::vector<Output>(const std::vector<Tensor>& inputs)>;

struct Problem {
  std::vector<Input> inputs;
  Function own, exact;
  Tolerance float32, bfloat16;  // of tensors of either type; integers are exact
  /// Errors are the Euclidean length of the difference over that of the tensor, not those of single numbers.
  bool by_length = false;
};

/// Compares outputs and gradients on a device. The own computation is done twice, and must give the same bits.
Check verify(const std::string& name, const Problem& problem, at::Device device);

/// The greatest |own − expected| over |expected| + the tensor's root mean square + `floor`; with `by_length` that of
/// Euclidean lengths. Infinity where shapes differ or a number is not finite that should be.
double error_of(const Tensor& own, const Tensor& expected, bool by_length, double floor = 0);

/// Root mean square.
double magnitude(const Tensor& x);

/// The kernels that a stage verifies.
struct Subject {
  const Kernels& kernels;
  at::Device device;
  bool small = false;  // only sizes that the host computes in seconds
};

/// Each adds the checks of a few kernels.
void verify_batch_norm(const Subject& subject, Report& report);
void verify_slots(const Subject& subject, Report& report);
void verify_maps(const Subject& subject, Report& report);
void verify_optimizer(const Subject& subject, Report& report);
void verify_augment(const Subject& subject, Report& report);

/// Of float32 results, and of those that are stored in bfloat16.
Tolerance float32_tolerance();
Tolerance bfloat16_tolerance();

/// Calls `work` with numbers that follow from a seed alone; an error becomes a failed check.
void attempt(Report& report, const std::string& name, uint64_t seed, const std::function<Check()>& work);

}  // namespace soundspot::verify
