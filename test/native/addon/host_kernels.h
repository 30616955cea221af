// The GPU's kernels run on the host, block by block, and compared with ATen in double.
#pragma once

#include <functional>

#include "core/torch.h"
#include "kernels/cuda/host.h"

namespace soundspot::testing {

/// A kernel's tensor and what it should be.
struct Compared {
  std::string name;
  Tensor own, expected;
};
using Comparisons = std::vector<Compared>;

/// Sizes and switches by name.
class Case {
 public:
  explicit Case(std::map<std::string, int64_t> numbers) : numbers_(std::move(numbers)) {
    at::set_num_threads(1);  // threads cost more than tensors as small as these
    at::manual_seed(static_cast<uint64_t>(of("seed")));
  }
  int64_t of(const std::string& name) const {
    const auto found = numbers_.find(name);
    TORCH_CHECK(found != numbers_.end(), "The case has no ", name);
    return found->second;
  }
  bool flag(const std::string& name) const { return of(name) != 0; }
  at::ScalarType type() const { return flag("bfloat16") ? at::kBFloat16 : at::kFloat; }

 private:
  std::map<std::string, int64_t> numbers_;
};

using Compare = Comparisons (*)(const Case&);
std::map<std::string, Compare>& comparisons();

struct RegisterComparison {
  RegisterComparison(const std::string& name, Compare compare) { comparisons()[name] = compare; }
};

/// A leaf with a gradient, and the same in double.
struct Leaf {
  Tensor own, exact;

  explicit Leaf(const Tensor& value)
      : own(value.detach().clone(at::MemoryFormat::Preserve).set_requires_grad(true)),
        exact(value.detach().to(at::kDouble).set_requires_grad(true)) {}
};

/// Adds results and, from the sum of all results weighted by random numbers, the gradients of the leaves.
void compare_all(Comparisons& list, const std::vector<std::pair<std::string, std::pair<Tensor, Tensor>>>& results,
                 const std::vector<std::pair<std::string, Leaf>>& leaves);

}  // namespace soundspot::testing
