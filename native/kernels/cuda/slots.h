// What happens to the rows of slots between products: layer norm and the cell of a GRU, in both directions. A warp has
// one row.
#pragma once

#include "kernels/cuda/block.h"

namespace soundspot::kernels::cuda {

constexpr float kLayerNormEpsilon = 1e-5f;

/// The launch of one warp a row.
struct RowWarps {
  static constexpr int kThreads = 128, kRows = kThreads / kWarp;

  static Grid grid(int64_t rows) { return {divided_up(rows, kRows)}; }

  /// The row of a thread.
  template <class Block>
  SOUNDSPOT_DEVICE static int64_t row(const Block& block, int thread) {
    return block.x() * kRows + thread / kWarp;
  }
};

SOUNDSPOT_DEVICE float sigmoid(float x) { return 1 / (1 + expf(-x)); }

/// Mean and 1 / σ of the row of each warp, `value(thread, i)`, which its own thread has written or nobody has.
template <class Block, class Value>
SOUNDSPOT_DEVICE void row_moments(Block& block, int64_t rows, int64_t dim,
                                  typename Block::template Local<Values<float, 1>>& mean,
                                  typename Block::template Local<Values<float, 1>>& inverse, const Value& value) {
  block.own([&](int thread) {
    mean[thread].zero();
    if (RowWarps::row(block, thread) >= rows) return;
    for (int64_t i = thread % kWarp; i < dim; i += kWarp) mean[thread].v[0] += value(thread, i);
  });
  block.warp_sum(mean);
  block.own([&](int thread) {
    mean[thread].v[0] /= static_cast<float>(dim);
    inverse[thread].zero();
    if (RowWarps::row(block, thread) >= rows) return;
    for (int64_t i = thread % kWarp; i < dim; i += kWarp) {
      const float apart = value(thread, i) - mean[thread].v[0];
      inverse[thread].v[0] += apart * apart;
    }
  });
  block.warp_sum(inverse);
  block.own([&](int thread) {
    inverse[thread].v[0] = 1 / sqrtf(inverse[thread].v[0] / static_cast<float>(dim) + kLayerNormEpsilon);
  });
}

/// Layer norm of rows [R, D]: normed, 1 / σ, and normed · weight + bias.
struct NormRows {
  static constexpr int kThreads = RowWarps::kThreads;

  int64_t rows, dim;
  const float *x, *weight, *bias;
  float *normed, *inverse, *affine;

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    typename Block::template Local<Values<float, 1>> mean(block), scale(block);
    row_moments(block, rows, dim, mean, scale,
                [&](int thread, int64_t i) { return x[RowWarps::row(block, thread) * dim + i]; });
    block.own([&](int thread) {
      const int64_t row = RowWarps::row(block, thread);
      if (row >= rows) return;
      if (thread % kWarp == 0) inverse[row] = scale[thread].v[0];
      for (int64_t i = thread % kWarp; i < dim; i += kWarp) {
        const float value = (x[row * dim + i] - mean[thread].v[0]) * scale[thread].v[0];
        normed[row * dim + i] = value;
        affine[row * dim + i] = value * weight[i] + bias[i];
      }
    });
  }
};

/// The cell of a GRU on rows, then layer norm of its result. Gates [R, 3 D] in PyTorch's order: reset, update, new.
struct GruNormRows {
  static constexpr int kThreads = RowWarps::kThreads;

  int64_t rows, dim;
  const float *input_gates, *hidden_gates, *hidden, *weight, *bias;
  float *gates, *updated, *normed, *inverse, *affine;

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    block.own([&](int thread) {
      const int64_t row = RowWarps::row(block, thread);
      if (row >= rows) return;
      const float *const of_input = input_gates + 3 * row * dim, *const of_hidden = hidden_gates + 3 * row * dim;
      float* const kept = gates + 3 * row * dim;
      for (int64_t i = thread % kWarp; i < dim; i += kWarp) {
        const float reset = sigmoid(of_input[i] + of_hidden[i]),
                    update = sigmoid(of_input[dim + i] + of_hidden[dim + i]),
                    fresh = tanhf(of_input[2 * dim + i] + reset * of_hidden[2 * dim + i]);
        kept[i] = reset;
        kept[dim + i] = update;
        kept[2 * dim + i] = fresh;
        updated[row * dim + i] = fresh + update * (hidden[row * dim + i] - fresh);
      }
    });
    const NormRows norm{rows, dim, updated, weight, bias, normed, inverse, affine};
    norm(block);
  }
};

/// Adds to `out` the gradient of layer norm's input, from that of its affine result.
template <class Block>
SOUNDSPOT_DEVICE void norm_gradient(Block& block, int64_t rows, int64_t dim, const float* gradient, const float* weight,
                                    const float* normed, const float* inverse, float* out) {
  typename Block::template Local<Values<float, 2>> sums(block);
  block.own([&](int thread) {
    sums[thread].zero();
    const int64_t row = RowWarps::row(block, thread);
    if (row >= rows) return;
    for (int64_t i = thread % kWarp; i < dim; i += kWarp) {
      const float value = gradient[row * dim + i] * weight[i];
      sums[thread].v[0] += value;
      sums[thread].v[1] += value * normed[row * dim + i];
    }
  });
  block.warp_sum(sums);
  block.own([&](int thread) {
    const int64_t row = RowWarps::row(block, thread);
    if (row >= rows) return;
    const auto width = static_cast<float>(dim);
    const float mean = sums[thread].v[0] / width, slope = sums[thread].v[1] / width;
    for (int64_t i = thread % kWarp; i < dim; i += kWarp) {
      const int64_t at = row * dim + i;
      out[at] += (gradient[at] * weight[i] - mean - normed[at] * slope) * inverse[row];
    }
  });
}

/// The gradient of layer norm, added to that of its input.
struct NormRowsGradient {
  static constexpr int kThreads = RowWarps::kThreads;

  int64_t rows, dim;
  const float *gradient, *weight, *normed, *inverse;
  float* out;

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    norm_gradient(block, rows, dim, gradient, weight, normed, inverse, out);
  }
};

/// GruNormRows backwards: `of_updated` [R, D] has what comes past the layer norm, and is read and changed.
struct GruNormRowsGradient {
  static constexpr int kThreads = RowWarps::kThreads;

  int64_t rows, dim;
  const float *of_affine, *weight, *normed, *inverse;
  const float *gates, *hidden_gates, *hidden;
  float* of_updated;
  float *of_input_gates, *of_hidden_gates, *of_hidden;

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    norm_gradient(block, rows, dim, of_affine, weight, normed, inverse, of_updated);
    block.own([&](int thread) {
      const int64_t row = RowWarps::row(block, thread);
      if (row >= rows) return;
      const float* const kept = gates + 3 * row * dim;
      float *const of_input = of_input_gates + 3 * row * dim, *const of_state = of_hidden_gates + 3 * row * dim;
      for (int64_t i = thread % kWarp; i < dim; i += kWarp) {
        const float reset = kept[i], update = kept[dim + i], fresh = kept[2 * dim + i], of = of_updated[row * dim + i];
        const float of_update = of * (hidden[row * dim + i] - fresh) * update * (1 - update);
        const float of_fresh = of * (1 - update) * (1 - fresh * fresh);
        const float of_reset = of_fresh * hidden_gates[3 * row * dim + 2 * dim + i] * reset * (1 - reset);
        of_input[i] = of_state[i] = of_reset;
        of_input[dim + i] = of_state[dim + i] = of_update;
        of_input[2 * dim + i] = of_fresh;
        of_state[2 * dim + i] = of_fresh * reset;
        of_hidden[row * dim + i] = of * update;
      }
    });
  }
};

}  // namespace soundspot::kernels::cuda
