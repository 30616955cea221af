// Attention of S slots on the N tokens of one sample, a block each: logits, softmax over slots, normalization over
// tokens and the sum of tokens by attention (Eq. 3 and 4), and their gradients. Also the loss between attentions.
#pragma once

#include "kernels/cuda/block.h"

namespace soundspot::kernels::cuda {

constexpr float kAttentionEpsilon = 1e-8f;

/// Pairs of one sample's rows and tokens.
struct AttentionSizes {
  int64_t slots, tokens, dim;

  SOUNDSPOT_DEVICE int64_t places() const { return slots * tokens; }
};

/// row[s] · token[n] for every slot and token; `done(s, n, product)` is called once for each pair. A warp has up to
/// kTokens tokens and kSlots rows at a time, which it reads once from memory.
template <int kWidth, int kSlots, class Block, class Number, class Done>
SOUNDSPOT_DEVICE void dot_products(Block& block, const AttentionSizes& sizes, const float* rows, const Number* tokens,
                                   const Done& done) {
  constexpr int kTokens = 4;
  typename Block::template Local<Values<float, kTokens * kSlots>> sums(block);
  const int64_t warps = block.threads() / kWarp;
  for (int64_t slot = 0; slot < sizes.slots; slot += kSlots) {
    for (int64_t round = 0; round < sizes.tokens; round += warps * kTokens) {
      block.own([&](int thread) {
        Values<float, kTokens* kSlots>& own = sums[thread];
        own.zero();
        const int64_t first = round + thread / kWarp * kTokens;
        if (first >= sizes.tokens) return;
        for (int64_t i = thread % kWarp * kWidth; i < sizes.dim; i += kWarp * kWidth) {
          float row[kSlots][kWidth];
          SOUNDSPOT_UNROLL
          for (int s = 0; s < kSlots; ++s) {
            // Beyond the last slot the last one once more, for nothing.
            const int64_t at = slot + s < sizes.slots ? slot + s : sizes.slots - 1;
            load_floats<kWidth>(rows + at * sizes.dim + i, row[s]);
          }
          SOUNDSPOT_UNROLL
          for (int n = 0; n < kTokens; ++n) {
            const int64_t at = first + n < sizes.tokens ? first + n : sizes.tokens - 1;
            float token[kWidth];
            load_floats<kWidth>(tokens + at * sizes.dim + i, token);
            SOUNDSPOT_UNROLL
            for (int s = 0; s < kSlots; ++s) {
              SOUNDSPOT_UNROLL
              for (int k = 0; k < kWidth; ++k) own.v[n * kSlots + s] += token[k] * row[s][k];
            }
          }
        }
      });
      block.warp_sum(sums);
      block.own([&](int thread) {
        // Lane n · kSlots + s has the sum of that pair; the array is indexed by constants alone, to stay in registers.
        const int64_t first = round + thread / kWarp * kTokens;
        SOUNDSPOT_UNROLL
        for (int n = 0; n < kTokens; ++n) {
          SOUNDSPOT_UNROLL
          for (int s = 0; s < kSlots; ++s) {
            if (thread % kWarp != n * kSlots + s) continue;
            if (first + n < sizes.tokens && slot + s < sizes.slots)
              done(slot + s, first + n, sums[thread].v[n * kSlots + s]);
          }
        }
      });
    }
  }
  block.each([](int) {});
}

/// Bytes of shared memory that weighted_sums needs.
template <int kThreads, int kWidth, int kSlots>
constexpr int64_t kGatherShared = int64_t{kThreads} * kWidth* kSlots* static_cast<int64_t>(sizeof(float));

/// Σ_n weight[s, n] · token[n] for every slot; `done(s, i, sum)` is called once for each number. Threads that have no
/// pack of their own share tokens.
template <int kThreads, int kWidth, int kSlots, class Block, class Number, class Done>
SOUNDSPOT_DEVICE void weighted_sums(Block& block, const AttentionSizes& sizes, const float* weights,
                                    const Number* tokens, const Done& done) {
  float* const shared = block.template shared<float>();
  const int packs = static_cast<int>(divided_up(sizes.dim, kWidth)), across = packs < kThreads ? packs : kThreads;
  const int groups = kThreads / across;
  for (int64_t slot = 0; slot < sizes.slots; slot += kSlots) {
    for (int first = 0; first < packs; first += across) {
      block.each([&](int thread) {
        const int group = thread / across, i = (first + thread % across) * kWidth;
        if (group >= groups || i >= sizes.dim) return;
        float sums[kSlots][kWidth] = {};
        for (int64_t n = group; n < sizes.tokens; n += groups) {
          float token[kWidth];
          load_floats<kWidth>(tokens + n * sizes.dim + i, token);
          SOUNDSPOT_UNROLL
          for (int s = 0; s < kSlots; ++s) {
            const int64_t at = slot + s < sizes.slots ? slot + s : sizes.slots - 1;
            const float weight = weights[at * sizes.tokens + n];
            SOUNDSPOT_UNROLL
            for (int k = 0; k < kWidth; ++k) sums[s][k] += weight * token[k];
          }
        }
        // Neighbouring threads write neighbouring places.
        SOUNDSPOT_UNROLL
        for (int s = 0; s < kSlots; ++s) {
          SOUNDSPOT_UNROLL
          for (int k = 0; k < kWidth; ++k) shared[(s * kWidth + k) * kThreads + thread] = sums[s][k];
        }
      });
      block.each([&](int thread) {
        const int i = (first + thread) * kWidth;
        if (thread >= across || i >= sizes.dim) return;
        SOUNDSPOT_UNROLL
        for (int s = 0; s < kSlots; ++s) {
          if (slot + s >= sizes.slots) continue;
          SOUNDSPOT_UNROLL
          for (int k = 0; k < kWidth; ++k) {
            float total = 0;
            for (int group = 0; group < groups; ++group) {
              total += shared[(s * kWidth + k) * kThreads + group * across + thread];
            }
            done(slot + s, i + k, total);
          }
        }
      });
    }
  }
}

/// From logits in `attention` [S, N], times `scale`: the softmax over slots into `shares`, with kAttentionEpsilon and
/// divided by its sum over tokens into `attention`, the sums into `totals` [S].
template <class Block>
SOUNDSPOT_DEVICE void normalize_attention(Block& block, const AttentionSizes& sizes, float scale, float* attention,
                                          float* shares, float* totals) {
  block.each([&](int thread) {
    for (int64_t n = thread; n < sizes.tokens; n += block.threads()) {
      float most = attention[n] * scale;
      for (int64_t s = 1; s < sizes.slots; ++s) most = fmaxf(most, attention[s * sizes.tokens + n] * scale);
      float total = 0;
      for (int64_t s = 0; s < sizes.slots; ++s) {
        const float share = expf(attention[s * sizes.tokens + n] * scale - most);
        shares[s * sizes.tokens + n] = share;
        total += share;
      }
      for (int64_t s = 0; s < sizes.slots; ++s) shares[s * sizes.tokens + n] /= total;
    }
  });
  const int64_t warps = block.threads() / kWarp;
  typename Block::template Local<Values<float, 1>> sums(block);
  for (int64_t first = 0; first < sizes.slots; first += warps) {
    block.own([&](int thread) {
      const int64_t s = first + thread / kWarp;
      sums[thread].zero();
      if (s >= sizes.slots) return;
      for (int64_t n = thread % kWarp; n < sizes.tokens; n += kWarp) {
        sums[thread].v[0] += shares[s * sizes.tokens + n] + kAttentionEpsilon;
      }
    });
    block.warp_sum(sums);
    block.each([&](int thread) {
      const int64_t s = first + thread / kWarp;
      if (s >= sizes.slots) return;
      const float total = sums[thread].v[0];
      if (thread % kWarp == 0) totals[s] = total;
      for (int64_t n = thread % kWarp; n < sizes.tokens; n += kWarp) {
        attention[s * sizes.tokens + n] = (shares[s * sizes.tokens + n] + kAttentionEpsilon) / total;
      }
    });
  }
}

/// Logits of `rows` on tokens, plus `offsets` [S], attention, and where `gathered` is not null the sums of the tokens
/// by attention, of the sample of each block.
template <class Number, int kWidth, int kSlots>
struct Attend {
  static constexpr int kThreads = 256;
  static constexpr int64_t kShared = kGatherShared<kThreads, kWidth, kSlots>;

  AttentionSizes sizes;
  float scale;
  const float* rows;          // [B, S, D]
  const float* offsets;       // [B, S]
  const Number* tokens;       // [B, N, D]
  float *attention, *shares;  // [B, S, N]
  float* totals;              // [B, S]
  float* gathered;            // [B, S, D]

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    of_sample(block, block.x());
  }

  template <class Block>
  SOUNDSPOT_DEVICE void of_sample(Block& block, int64_t sample) const {
    const Number* const own = tokens + sample * sizes.tokens * sizes.dim;
    float* const logits = attention + sample * sizes.places();
    dot_products<kWidth, kSlots>(block, sizes, rows + sample * sizes.slots * sizes.dim, own,
                                 [&](int64_t s, int64_t n, float product) {
                                   logits[s * sizes.tokens + n] = product + offsets[sample * sizes.slots + s];
                                 });
    normalize_attention(block, sizes, scale, logits, shares + sample * sizes.places(), totals + sample * sizes.slots);
    if (gathered == nullptr) return;
    float* const out = gathered + sample * sizes.slots * sizes.dim;
    weighted_sums<kThreads, kWidth, kSlots>(block, sizes, logits, own,
                                            [&](int64_t s, int64_t i, float sum) { out[s * sizes.dim + i] = sum; });
  }
};

/// The gradients of logits, rows and offsets from those of the gathered tokens and of the attention itself, either of
/// which may be null. Where `factors` is not null it and `vectors` get what makes the tokens' gradient as a product,
/// Σ attention · d gathered + d logits · rows: `of_logits` goes there then.
template <class Number, int kWidth, int kSlots>
struct AttendGradient {
  static constexpr int kThreads = 256;
  static constexpr int64_t kShared = kGatherShared<kThreads, kWidth, kSlots>;

  AttentionSizes sizes;
  float scale;
  const float* of_gathered;   // [B, S, D]
  const float* of_attention;  // [B, S, N]
  const float *attention, *shares, *totals;
  const float* rows;     // [B, S, D]
  const Number* tokens;  // [B, N, D]
  float* of_rows;        // [B, S, D]
  float* of_offsets;     // [B, S]
  float* of_logits;      // [S, N] of each sample, `stride` apart
  int64_t stride;
  float* factors;  // attention's copy, likewise
  float* vectors;  // [2, S, D] of each sample, `vector_stride` apart
  int64_t vector_stride;

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    const int64_t sample = block.x(), slots = sizes.slots, count = sizes.tokens, dim = sizes.dim;
    const Number* const own = tokens + sample * count * dim;
    const float* const attended = attention + sample * sizes.places();
    const float* const shared_out = shares + sample * sizes.places();
    const float* const outer = of_attention == nullptr ? nullptr : of_attention + sample * sizes.places();
    float* const out = of_logits + sample * stride;
    if (of_gathered != nullptr) {
      dot_products<kWidth, kSlots>(block, sizes, of_gathered + sample * slots * dim, own,
                                   [&](int64_t s, int64_t n, float product) {
                                     const int64_t at = s * count + n;
                                     out[at] = product + (outer != nullptr ? outer[at] : 0);
                                   });
    } else {
      block.each([&](int thread) {
        for (int64_t at = thread; at < sizes.places(); at += kThreads) out[at] = outer != nullptr ? outer[at] : 0;
      });
    }
    // Back through the division by the row's total.
    constexpr int kWarps = kThreads / kWarp;
    typename Block::template Local<Values<float, 1>> sums(block);
    for (int64_t first = 0; first < slots; first += kWarps) {
      block.own([&](int thread) {
        const int64_t s = first + thread / kWarp;
        sums[thread].zero();
        if (s >= slots) return;
        for (int64_t n = thread % kWarp; n < count; n += kWarp) {
          sums[thread].v[0] += out[s * count + n] * attended[s * count + n];
        }
      });
      block.warp_sum(sums);
      block.each([&](int thread) {
        const int64_t s = first + thread / kWarp;
        if (s >= slots) return;
        const float common = sums[thread].v[0], total = totals[sample * slots + s];
        for (int64_t n = thread % kWarp; n < count; n += kWarp) {
          out[s * count + n] = (out[s * count + n] - common) / total;
        }
      });
    }
    // Back through the softmax over slots.
    block.each([&](int thread) {
      for (int64_t n = thread; n < count; n += kThreads) {
        float common = 0;
        for (int64_t s = 0; s < slots; ++s) common += out[s * count + n] * shared_out[s * count + n];
        for (int64_t s = 0; s < slots; ++s) {
          const int64_t at = s * count + n;
          out[at] = scale * shared_out[at] * (out[at] - common);
          if (factors != nullptr) factors[sample * stride + at] = attended[at];
        }
      }
    });
    for (int64_t first = 0; first < slots; first += kWarps) {
      block.own([&](int thread) {
        const int64_t s = first + thread / kWarp;
        sums[thread].zero();
        if (s >= slots) return;
        for (int64_t n = thread % kWarp; n < count; n += kWarp) sums[thread].v[0] += out[s * count + n];
      });
      block.warp_sum(sums);
      block.own([&](int thread) {
        const int64_t s = first + thread / kWarp;
        if (s < slots && thread % kWarp == 0) of_offsets[sample * slots + s] = sums[thread].v[0];
      });
    }
    const int64_t row = sample * slots * dim;
    weighted_sums<kThreads, kWidth, kSlots>(block, sizes, out, own, [&](int64_t s, int64_t i, float sum) {
      const int64_t at = s * dim + i;
      of_rows[row + at] = sum;
      if (vectors == nullptr) return;
      float* const pair = vectors + sample * vector_stride + at;
      pair[0] = of_gathered[row + at];
      pair[slots * dim] = rows[row + at];
    });
  }
};

}  // namespace soundspot::kernels::cuda
