// Work in parallel, in parts that go to whichever thread is free.
#pragma once

#include <algorithm>
#include <atomic>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "core/torch.h"

namespace soundspot::core {

/// A range that its own thread takes parts of from the front, and others from the back.
class SharedRange {
 public:
  using Part = std::pair<uint32_t, uint32_t>;

  void set(int64_t begin, int64_t end) { ends_.store(packed(begin, end), std::memory_order_relaxed); }

  /// Half of what is left, or all where a half would be less than `grain`; none where nothing is.
  std::optional<Part> take(int64_t grain, bool from_front) {
    uint64_t ends = ends_.load(std::memory_order_relaxed);
    while (true) {
      const int64_t begin = ends >> 32, end = ends & std::numeric_limits<uint32_t>::max();
      if (begin == end) return std::nullopt;
      const int64_t left = end - begin, size = left < 2 * grain ? left : left / 2;
      const int64_t cut = from_front ? begin + size : end - size;
      const uint64_t rest = from_front ? packed(cut, end) : packed(begin, cut);
      if (!ends_.compare_exchange_weak(ends, rest, std::memory_order_relaxed)) continue;
      return from_front ? Part(begin, cut) : Part(cut, end);
    }
  }

 private:
  static uint64_t packed(int64_t begin, int64_t end) { return static_cast<uint64_t>(begin) << 32 | end; }
  std::atomic<uint64_t> ends_;
};

/// Calls `work(begin, end)` for parts that make up [0, count), on LibTorch's threads, and waits for all. Each thread
/// begins with an equal share, the same one in each call: what it wrote before is still in its core's caches. It takes
/// half of what is left of its share at a time, then of the shares of others. Parts have at least `grain`, where a
/// share has that. A thread whose core another program takes for a while does less, and the others do not wait long for
/// it. Who runs a part varies, so the result of one must not depend on it. Inside of another parallel region there is
/// one part.
/// @throws what `work` throws
template <class Work>
void in_parts(int64_t count, int64_t grain, const Work& work) {
  const int64_t most = at::in_parallel_region() ? 1 : at::get_num_threads();
  const int64_t threads = std::min(most, (count + grain - 1) / grain);
  if (threads <= 1) {
    if (count > 0) work(0, count);
    return;
  }
  if (count > std::numeric_limits<uint32_t>::max()) return at::parallel_for(0, count, grain, work);
  std::vector<SharedRange> shares(static_cast<size_t>(threads));
  for (int64_t i = 0; i < threads; ++i) {
    shares[static_cast<size_t>(i)].set(count * i / threads, count * (i + 1) / threads);
  }
  at::parallel_for(0, threads, 1, [&](int64_t from, int64_t to) {
    for (int64_t own = from; own < to; ++own) {
      for (int64_t i = 0; i < threads; ++i) {
        SharedRange& share = shares[static_cast<size_t>((own + i) % threads)];
        while (const auto part = share.take(grain, /*from_front=*/i == 0)) work(part->first, part->second);
      }
    }
  });
}

}  // namespace soundspot::core
