// All iterations of slot attention in one launch, for few samples: blocks share the rows of every product and wait for
// each other five times an iteration. Products read their weights once for up to kRows rows.
#pragma once

#include "kernels/cuda/attention.h"
#include "kernels/cuda/slots.h"

namespace soundspot::kernels::cuda {

/// A linear layer [out, in] with its bias [out].
struct LinearRows {
  const float *weight, *bias;
  int64_t out;
};

/// Weights joined where associativity allows. n are the slots normalized without weight and bias.
struct JoinedWeights {
  LinearRows query;   // W_kᵀ W_q γ n, and as the last output the product of q and b_k: D + 1 outputs
  LinearRows hidden;  // W_hh s
  LinearRows input;   // W_ih (W_v Σ Â x + b_v)
  LinearRows first;   // of the MLP, on normalized rows
  LinearRows second;
};

template <class Number, int kTokenWidth, int kWidth, int kRows>
struct CooperativeSlots {
  static constexpr int kThreads = 256, kWarps = kThreads / kWarp, kSlots = 2;
  static constexpr int64_t kParts = 5;

  AttentionSizes sizes;
  int64_t batch, iterations;
  float scale;
  JoinedWeights weights;
  const Number* tokens;  // [B, N, D]
  // For each iteration B·S rows, as in SlotTrace; the first rows of `slots` are the initial ones.
  float *slots, *on_tokens, *offsets, *hidden_gates, *attention, *shares, *totals, *gathered, *gates, *updated, *hidden;
  float* result;  // [B·S, D]

  static int64_t shared_bytes(int64_t rows) {
    const int64_t moments = 2 * rows * static_cast<int64_t>(sizeof(float)),
                  gather = kGatherShared<kThreads, kTokenWidth, kSlots>;
    return moments > gather ? moments : gather;
  }
  int64_t stages() const { return kParts * iterations; }
  /// Blocks that find work in the stage with the most products.
  int64_t blocks() const { return divided_up(divided_up(4 * sizes.dim + 1, 2), kWarps); }

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block, int64_t stage) const {
    const int64_t t = stage / kParts, rows = batch * sizes.slots, dim = sizes.dim, first = t * rows;
    float *const now = slots + first * dim, *const fresh = updated + first * dim,
                 *const inner = hidden + first * weights.first.out;
    float* const moments = block.template shared<float>();
    switch (stage % kParts) {
      case 0: {
        normalize(block, now, rows, moments);
        const int64_t queries = divided_up(weights.query.out, 2), states = divided_up(weights.hidden.out, 2);
        products<2>(
            block, queries + states, now, rows, dim, [&](int64_t task) { return task < queries ? moments : nullptr; },
            [&](int64_t task, int o) {
              const LinearRows& layer = task < queries ? weights.query : weights.hidden;
              return layer.weight + clamped(2 * (task < queries ? task : task - queries) + o, layer.out) * dim;
            },
            [&](int64_t task, int64_t row, const float* sums) {
              SOUNDSPOT_UNROLL
              for (int o = 0; o < 2; ++o) {
                const bool query = task < queries;
                const LinearRows& layer = query ? weights.query : weights.hidden;
                const int64_t i = 2 * (query ? task : task - queries) + o;
                if (i >= layer.out) continue;
                const float value = sums[o] + layer.bias[i];
                if (!query) {
                  hidden_gates[(first + row) * 3 * dim + i] = value;
                } else if (i < dim) {
                  on_tokens[(first + row) * dim + i] = value;
                } else {
                  offsets[row] = value;
                }
              }
            });
        return;
      }
      case 1: {
        const int64_t place = first * sizes.tokens;
        const Attend<Number, kTokenWidth, kSlots> attend{sizes,          scale,          on_tokens + first * dim,
                                                         offsets,        tokens,         attention + place,
                                                         shares + place, totals + first, gathered + first * dim};
        for (int64_t sample = block.x(); sample < batch; sample += block.blocks_x()) attend.of_sample(block, sample);
        return;
      }
      case 2:
        products<3>(
            block, dim, gathered + first * dim, rows, dim, [](int64_t) { return nullptr; },
            [&](int64_t task, int o) { return weights.input.weight + (o * dim + task) * dim; },
            [&](int64_t i, int64_t row, const float* sums) {
              const float* const of_hidden = hidden_gates + (first + row) * 3 * dim;
              const float* const bias = weights.input.bias;
              const float reset = sigmoid(sums[0] + bias[i] + of_hidden[i]),
                          update = sigmoid(sums[1] + bias[dim + i] + of_hidden[dim + i]),
                          next = tanhf(sums[2] + bias[2 * dim + i] + reset * of_hidden[2 * dim + i]);
              float* const kept = gates + (first + row) * 3 * dim;
              kept[i] = reset;
              kept[dim + i] = update;
              kept[2 * dim + i] = next;
              fresh[row * dim + i] = next + update * (now[row * dim + i] - next);
            });
        return;
      case 3: {
        normalize(block, fresh, rows, moments);
        const int64_t width = weights.first.out;
        products<2>(
            block, divided_up(width, 2), fresh, rows, dim, [&](int64_t) { return moments; },
            [&](int64_t task, int o) { return weights.first.weight + clamped(2 * task + o, width) * dim; },
            [&](int64_t task, int64_t row, const float* sums) {
              SOUNDSPOT_UNROLL
              for (int o = 0; o < 2; ++o) {
                const int64_t i = 2 * task + o;
                if (i >= width) continue;
                const float value = sums[o] + weights.first.bias[i];
                inner[row * width + i] = value < 0 ? 0 : value;
              }
            });
        return;
      }
      default: {
        float* const next = t + 1 < iterations ? now + rows * dim : result;
        const int64_t width = weights.first.out;
        products<1>(
            block, dim, inner, rows, width, [](int64_t) { return nullptr; },
            [&](int64_t task, int) { return weights.second.weight + task * width; },
            [&](int64_t i, int64_t row, const float* sums) {
              next[row * dim + i] = fresh[row * dim + i] + sums[0] + weights.second.bias[i];
            });
      }
    }
  }

 private:
  SOUNDSPOT_DEVICE static int64_t clamped(int64_t i, int64_t count) { return i < count ? i : count - 1; }

  /// Of every row 1 / σ and −mean / σ into `moments` [R, 2].
  template <class Block>
  SOUNDSPOT_DEVICE void normalize(Block& block, const float* x, int64_t rows, float* moments) const {
    typename Block::template Local<Values<float, 1>> mean(block), square(block);
    for (int64_t round = 0; round < rows; round += kWarps) {
      block.own([&](int thread) {
        mean[thread].zero();
        const int64_t row = round + thread / kWarp;
        if (row >= rows) return;
        for (int64_t i = thread % kWarp; i < sizes.dim; i += kWarp) mean[thread].v[0] += x[row * sizes.dim + i];
      });
      block.warp_sum(mean);
      block.own([&](int thread) {
        mean[thread].v[0] /= static_cast<float>(sizes.dim);
        square[thread].zero();
        const int64_t row = round + thread / kWarp;
        if (row >= rows) return;
        for (int64_t i = thread % kWarp; i < sizes.dim; i += kWarp) {
          const float apart = x[row * sizes.dim + i] - mean[thread].v[0];
          square[thread].v[0] += apart * apart;
        }
      });
      block.warp_sum(square);
      block.own([&](int thread) {
        const int64_t row = round + thread / kWarp;
        if (row >= rows || thread % kWarp != 0) return;
        const float inverse = 1 / sqrtf(square[thread].v[0] / static_cast<float>(sizes.dim) + kLayerNormEpsilon);
        moments[2 * row] = inverse;
        moments[2 * row + 1] = -mean[thread].v[0] * inverse;
      });
    }
    block.each([](int) {});
  }

  /// x [R, inner] times kOut rows of weights for each task, `weight(task, o)`; `done(task, row, sums)` is called once
  /// for each row. Where `factors(task)` is not null rows are normalized by them. A warp of the grid has a task.
  template <int kOut, class Block, class Factors, class Weight, class Done>
  SOUNDSPOT_DEVICE void products(Block& block, int64_t tasks, const float* x, int64_t rows, int64_t inner,
                                 const Factors& factors, const Weight& weight, const Done& done) const {
    typename Block::template Local<Values<float, kOut * kRows>> sums(block);
    for (int64_t round = block.x() * kWarps; round < tasks; round += block.blocks_x() * kWarps) {
      for (int64_t first = 0; first < rows; first += kRows) {
        block.own([&](int thread) {
          Values<float, kOut* kRows>& own = sums[thread];
          own.zero();
          const int64_t task = round + thread / kWarp;
          if (task >= tasks) return;
          const float* const moments = factors(task);
          float slope[kRows], offset[kRows];
          SOUNDSPOT_UNROLL
          for (int r = 0; r < kRows; ++r) {
            const int64_t row = clamped(first + r, rows);
            slope[r] = moments != nullptr ? moments[2 * row] : 1;
            offset[r] = moments != nullptr ? moments[2 * row + 1] : 0;
          }
          for (int64_t i = thread % kWarp * kWidth; i < inner; i += kWarp * kWidth) {
            float factor[kOut][kWidth];
            SOUNDSPOT_UNROLL
            for (int o = 0; o < kOut; ++o) load_floats<kWidth>(weight(task, o) + i, factor[o]);
            SOUNDSPOT_UNROLL
            for (int r = 0; r < kRows; ++r) {
              float value[kWidth];
              load_floats<kWidth>(x + clamped(first + r, rows) * inner + i, value);
              SOUNDSPOT_UNROLL
              for (int k = 0; k < kWidth; ++k) {
                const float normed = value[k] * slope[r] + offset[r];
                SOUNDSPOT_UNROLL
                for (int o = 0; o < kOut; ++o) own.v[r * kOut + o] += normed * factor[o][k];
              }
            }
          }
        });
        block.warp_sum(sums);
        block.own([&](int thread) {
          const int64_t task = round + thread / kWarp;
          if (task >= tasks) return;
          SOUNDSPOT_UNROLL
          for (int r = 0; r < kRows; ++r) {
            if (thread % kWarp == r && first + r < rows) done(task, first + r, sums[thread].v + r * kOut);
          }
        });
      }
    }
  }
};

}  // namespace soundspot::kernels::cuda
