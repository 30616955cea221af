// The loss between attentions of one's own and of the other modality's queries: the sum of two mean squared errors over
// the target slots.
#pragma once

#include "kernels/cuda/block.h"

namespace soundspot::kernels::cuda {

/// Two attentions [B, S, N] of which the first `targets` slots count.
struct MatchedPair {
  const float *own, *other;
  int64_t batch, slots, tokens, targets;

  SOUNDSPOT_HOST_DEVICE int64_t count() const { return batch * targets * tokens; }
  /// Of the i-th number that counts.
  SOUNDSPOT_DEVICE int64_t place(int64_t i) const {
    const int64_t each = targets * tokens;
    return i / each * slots * tokens + i % each;
  }
};

/// The loss, in one block: attentions are small, and one order of sums is one result.
struct MatchingLoss {
  static constexpr int kThreads = 1024;
  static constexpr int64_t kShared = kThreads / kWarp * sizeof(Values<float, 2>);

  MatchedPair pairs[2];
  float* loss;

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    typename Block::template Local<Values<float, 2>> sums(block);
    block.own([&](int thread) {
      sums[thread].zero();
      SOUNDSPOT_UNROLL
      for (int p = 0; p < 2; ++p) {
        const MatchedPair& pair = pairs[p];
        for (int64_t i = thread; i < pair.count(); i += kThreads) {
          const int64_t at = pair.place(i);
          const float apart = pair.own[at] - pair.other[at];
          sums[thread].v[p] += apart * apart;
        }
      }
    });
    block_sum(block, sums, block.template shared<Values<float, 2>>());
    block.own([&](int thread) {
      if (thread != 0) return;
      *loss = sums[thread].v[0] / static_cast<float>(pairs[0].count()) +
              sums[thread].v[1] / static_cast<float>(pairs[1].count());
    });
  }
};

/// The gradients of each pair's first attention, y = 0 and 1; 0 where a slot is no target.
struct MatchingGradient {
  static constexpr int kThreads = 256;

  MatchedPair pairs[2];
  const float* of_loss;
  float* of_own[2];

  Grid grid() const {
    const auto all = [&](const MatchedPair& pair) { return pair.batch * pair.slots * pair.tokens; };
    return {divided_up(std::max(all(pairs[0]), all(pairs[1])), kThreads), 2};
  }

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    block.own([&](int thread) {
      const bool second = block.y() == 1;
      const MatchedPair& pair = second ? pairs[1] : pairs[0];
      float* const out = second ? of_own[1] : of_own[0];
      const int64_t at = block.x() * kThreads + thread;
      if (at >= pair.batch * pair.slots * pair.tokens) return;
      const bool target = at / pair.tokens % pair.slots < pair.targets;
      out[at] = target ? *of_loss * 2 * (pair.own[at] - pair.other[at]) / static_cast<float>(pair.count()) : 0;
    });
  }
};

}  // namespace soundspot::kernels::cuda
