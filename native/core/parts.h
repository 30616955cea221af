// Work in parallel, in parts that go to whichever thread is free.
#pragma once

#include <algorithm>
#include <atomic>

#include "core/torch.h"

namespace soundspot::core {

/// Calls `work(begin, end)` for parts that make up [0, count), on LibTorch's threads, and waits for all. Each part is
/// half of a thread's share of what is left, and at least `grain`: a thread whose core another program takes for a
/// while gets fewer, and the others do not wait long for it. Which thread runs a part varies from call to call, so the
/// result of one must not depend on it. Inside of another parallel region there is one part.
/// @throws what `work` throws
template <class Work>
void in_parts(int64_t count, int64_t grain, const Work& work) {
  const int64_t most = at::in_parallel_region() ? 1 : at::get_num_threads();
  const int64_t threads = std::min(most, (count + grain - 1) / grain);
  if (threads <= 1) {
    if (count > 0) work(0, count);
    return;
  }
  std::atomic<int64_t> next{0};
  at::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    while (true) {
      int64_t begin = next.load(std::memory_order_relaxed), end = begin;
      do {
        if (begin >= count) return;
        end = std::min(count, begin + std::max(grain, (count - begin) / (2 * threads)));
      } while (!next.compare_exchange_weak(begin, end, std::memory_order_relaxed));
      work(begin, end);
    }
  });
}

}  // namespace soundspot::core
