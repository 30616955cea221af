// Work shared out in parts.
#include <atomic>

#include "core/parts.h"
#include "host_kernels.h"

namespace soundspot::testing {
namespace {

Comparisons parts(const Case& of) {
  const int64_t count = of.of("count"), grain = of.of("grain"), failing = of.of("failing");
  at::set_num_threads(static_cast<int>(of.of("threads")));
  const Tensor ran = at::zeros({count}, at::kLong), nested = at::zeros({count}, at::kLong);
  auto* const runs = ran.mutable_data_ptr<int64_t>();
  auto* const inner = nested.mutable_data_ptr<int64_t>();
  std::atomic<int64_t> small{0}, divided{0};
  bool failed = false;
  try {
    core::in_parts(count, grain, [&](int64_t begin, int64_t end) {
      if (begin >= end || begin < 0 || end > count || 2 * (end - begin) < std::min(grain, count)) ++small;
      for (int64_t i = begin; i < end; ++i) ++runs[i];
      const bool within = at::in_parallel_region();
      core::in_parts(end - begin, 1, [&](int64_t from, int64_t to) {
        if (within && to - from != end - begin) ++divided;
        for (int64_t i = from; i < to; ++i) ++inner[begin + i];
      });
      if (begin <= failing && failing < end) throw std::runtime_error("as it should");
    });
  } catch (const std::runtime_error&) {
    failed = true;
  }
  at::set_num_threads(1);
  const Tensor none = at::zeros({1}, at::kLong);
  Comparisons list{{"parts out of bounds", at::full({1}, small.load(), at::kLong), none},
                   {"parts of parts", at::full({1}, divided.load(), at::kLong), none},
                   {"failures", at::full({1}, int64_t{failed}, at::kLong),
                    at::full({1}, int64_t{failing >= 0 && failing < count}, at::kLong)}};
  if (!failed) {
    list.push_back({"times that each ran", ran, at::ones_like(ran)});
    list.push_back({"times that each ran within", nested, at::ones_like(nested)});
  }
  return list;
}

const RegisterComparison registered("parts", parts);

}  // namespace
}  // namespace soundspot::testing
