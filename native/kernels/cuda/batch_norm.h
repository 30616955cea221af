// Batch norm, plus a residual, then ReLU, on rows [R, C] of a channels-last tensor, both directions. Sums over rows
// take two stages, of chunks of rows and then of chunks, in an order that depends on the sizes alone.
#pragma once

#include "kernels/cuda/block.h"

namespace soundspot::kernels::cuda {

/// How threads share rows: a block has `lanes` threads side by side, each with one pack of channels, and `kThreads /
/// lanes` rows at a time. Blocks are columns × chunks of rows.
struct RowTiles {
  static constexpr int kThreads = 256;

  int64_t rows = 0, channels = 0;
  int64_t chunk = 0;  // rows of a block
  int lanes = 1;      // a power of two

  static RowTiles of(int64_t rows, int64_t channels, int width) {
    constexpr int64_t kMostChunks = 1024;
    RowTiles tiles{.rows = rows, .channels = channels};
    const int64_t packs = channels / width;
    while (tiles.lanes < packs && tiles.lanes < kWarp) tiles.lanes *= 2;
    const int64_t at_once = kThreads / tiles.lanes;
    // At least eight rows a thread, so that the second stage stays small.
    tiles.chunk = std::max(8 * at_once, divided_up(rows, kMostChunks));
    return tiles;
  }
  int64_t chunks() const { return divided_up(rows, chunk); }
  Grid grid(int width, int64_t shared = 0) const { return {divided_up(channels / width, lanes), chunks(), shared}; }
};

/// The place of a thread in its block's tile.
template <int kWidth>
struct TilePlace {
  int64_t channel, first, end;  // first channel of the pack; rows first, first + step, … below end
  int step;

  template <class Block>
  SOUNDSPOT_DEVICE TilePlace(const RowTiles& tiles, const Block& block, int thread) {
    channel = (block.x() * tiles.lanes + thread % tiles.lanes) * kWidth;
    step = RowTiles::kThreads / tiles.lanes;
    first = block.y() * tiles.chunk + thread / tiles.lanes;
    end = (block.y() + 1) * tiles.chunk;
    if (end > tiles.rows) end = tiles.rows;
    if (channel >= tiles.channels) end = first;
  }
};

/// Adds the sums of the threads of one pack of channels, and calls `done(thread, sums)` in the first of them.
/// `shared` has kThreads places.
template <int kSums, class Block, class Done>
SOUNDSPOT_DEVICE void over_tile(Block& block, const RowTiles& tiles,
                                typename Block::template Local<Values<float, kSums>>& sums,
                                Values<float, kSums>* shared, const Done& done) {
  block.each([&](int thread) { shared[thread] = sums[thread]; });
  for (int apart = RowTiles::kThreads / 2; apart >= tiles.lanes; apart /= 2) {
    block.each([&](int thread) {
      if (thread >= apart) return;
      SOUNDSPOT_UNROLL
      for (int i = 0; i < kSums; ++i) shared[thread].v[i] += shared[thread + apart].v[i];
    });
  }
  block.own([&](int thread) {
    if (thread < tiles.lanes) done(thread, shared[thread]);
  });
}

/// Of each chunk of rows the mean and the sum of squares around it: [chunks, C] each.
template <class Number, int kWidth>
struct BatchMoments {
  static constexpr int kThreads = RowTiles::kThreads;
  static constexpr int64_t kShared = kThreads * sizeof(Values<float, 2 * kWidth>);

  RowTiles tiles;
  const Number* x;
  float *means, *squares;

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    typename Block::template Local<Values<float, 2 * kWidth>> sums(block);
    block.own([&](int thread) {
      const TilePlace<kWidth> place(tiles, block, thread);
      Values<float, 2 * kWidth>& own = sums[thread];
      own.zero();
      if (place.channel >= tiles.channels) return;
      // Around the chunk's first row: what is far from 0 and varies little keeps its digits.
      float from[kWidth];
      load_floats<kWidth>(x + block.y() * tiles.chunk * tiles.channels + place.channel, from);
      for (int64_t row = place.first; row < place.end; row += place.step) {
        float value[kWidth];
        load_floats<kWidth>(x + row * tiles.channels + place.channel, value);
        SOUNDSPOT_UNROLL
        for (int i = 0; i < kWidth; ++i) {
          const float apart = value[i] - from[i];
          own.v[i] += apart;
          own.v[kWidth + i] += apart * apart;
        }
      }
    });
    over_tile<2 * kWidth>(block, tiles, sums, block.template shared<Values<float, 2 * kWidth>>(),
                          [&](int thread, const Values<float, 2 * kWidth>& total) {
                            const TilePlace<kWidth> place(tiles, block, thread);
                            if (place.channel >= tiles.channels) return;
                            const int64_t first = block.y() * tiles.chunk;
                            const int64_t left = tiles.rows - first;
                            const auto count = static_cast<float>(left < tiles.chunk ? left : tiles.chunk);
                            const int64_t at = block.y() * tiles.channels + place.channel;
                            SOUNDSPOT_UNROLL
                            for (int i = 0; i < kWidth; ++i) {
                              const float apart = total.v[i] / count;
                              means[at + i] = to_float(x[first * tiles.channels + place.channel + i]) + apart;
                              const float around = total.v[kWidth + i] - apart * total.v[i];
                              squares[at + i] = around > 0 ? around : 0;
                            }
                          });
  }
};

/// Sums over chunks: threads side by side have one channel each, and every 32nd row of partial sums.
struct ChunkLanes {
  static constexpr int kThreads = 256, kChannels = 8, kRows = kThreads / kChannels;

  static Grid grid(int64_t channels) { return {divided_up(channels, kChannels), 1, kThreads * sizeof(float)}; }

  /// Σ over chunks of `value(chunk)` for each channel, the same in all of its threads.
  template <class Block, class Value>
  SOUNDSPOT_DEVICE static void sum(Block& block, int64_t channels, int64_t chunks,
                                   typename Block::template Local<float>& total, const Value& value) {
    float* const shared = block.template shared<float>();
    block.each([&](int thread) {
      const int64_t channel = block.x() * kChannels + thread % kChannels;
      float own = 0;
      if (channel < channels) {
        for (int64_t chunk = thread / kChannels; chunk < chunks; chunk += kRows) own += value(thread, channel, chunk);
      }
      shared[thread] = own;
    });
    for (int apart = kThreads / 2; apart >= kChannels; apart /= 2) {
      block.each([&](int thread) {
        if (thread < apart) shared[thread] += shared[thread + apart];
      });
    }
    block.each([&](int thread) { total[thread] = shared[thread % kChannels]; });
  }
};

/// Moments of chunks to those of all rows (Chan, Golub and LeVeque, 1979): mean, sum of squares around it, rows.
struct JoinMoments {
  static constexpr int kThreads = ChunkLanes::kThreads;

  const float *means, *squares;  // [chunks, C]
  const float* counts;           // [chunks], or null: `rows` in chunks of `chunk`
  int64_t channels, chunks, rows, chunk;
  float *mean, *square;  // [C]
  float* count;          // [1]

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    const auto count_of = [&](int64_t at) {
      if (counts != nullptr) return counts[at];
      const int64_t left = rows - at * chunk;
      return static_cast<float>(left < chunk ? left : chunk);
    };
    typename Block::template Local<float> apart(block), around(block), all(block);
    ChunkLanes::sum(block, channels, chunks, all, [&](int, int64_t, int64_t at) { return count_of(at); });
    ChunkLanes::sum(block, channels, chunks, apart, [&](int, int64_t channel, int64_t at) {
      return count_of(at) * (means[at * channels + channel] - means[channel]);
    });
    block.own([&](int thread) { apart[thread] /= all[thread]; });
    ChunkLanes::sum(block, channels, chunks, around, [&](int thread, int64_t channel, int64_t at) {
      const float off = means[at * channels + channel] - means[channel] - apart[thread];
      return squares[at * channels + channel] + count_of(at) * off * off;
    });
    block.own([&](int thread) {
      const int64_t channel = block.x() * ChunkLanes::kChannels + thread;
      if (thread >= ChunkLanes::kChannels || channel >= channels) return;
      mean[channel] = means[channel] + apart[thread];
      square[channel] = around[thread];
      if (channel == 0) *count = all[thread];
    });
  }
};

/// From moments the factors of the normalization, x · scale + shift, and the running statistics. With `square` null
/// the statistics are the running ones, which stay.
struct BatchFactors {
  static constexpr int kThreads = 256;

  int64_t channels;
  const float *weight, *bias;
  float *running_mean, *running_var;
  const float* square;  // null: fixed statistics
  const float* count;
  float momentum, epsilon;
  float *mean, *inverse;  // of the statistics in use; `mean` is read where they are the batch's
  float *scale, *shift;

  Grid grid() const { return {divided_up(channels, kThreads)}; }

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    block.own([&](int thread) {
      const int64_t c = block.x() * kThreads + thread;
      if (c >= channels) return;
      float variance;
      if (square == nullptr) {
        mean[c] = running_mean[c];
        variance = running_var[c];
      } else {
        const float rows = *count;
        variance = square[c] / rows;
        const float unbiased = rows > 1 ? square[c] / (rows - 1) : variance;
        running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean[c];
        running_var[c] = (1 - momentum) * running_var[c] + momentum * unbiased;
      }
      inverse[c] = 1 / sqrtf(variance + epsilon);
      scale[c] = weight[c] * inverse[c];
      shift[c] = bias[c] - mean[c] * scale[c];
    });
  }
};

/// relu(x · scale + shift + residual); without a residual where it is null, without ReLU where it is not wanted.
template <class Number, int kWidth>
struct BatchNormalize {
  static constexpr int kThreads = RowTiles::kThreads;

  RowTiles tiles;
  const Number *x, *residual;
  const float *scale, *shift;
  bool relu;
  Number* y;

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    block.own([&](int thread) {
      const TilePlace<kWidth> place(tiles, block, thread);
      if (place.first >= place.end) return;
      float factor[kWidth], offset[kWidth];
      SOUNDSPOT_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        factor[i] = scale[place.channel + i];
        offset[i] = shift[place.channel + i];
      }
      for (int64_t row = place.first; row < place.end; row += place.step) {
        const int64_t at = row * tiles.channels + place.channel;
        float value[kWidth], added[kWidth] = {};
        load_floats<kWidth>(x + at, value);
        if (residual != nullptr) load_floats<kWidth>(residual + at, added);
        SOUNDSPOT_UNROLL
        for (int i = 0; i < kWidth; ++i) {
          value[i] = value[i] * factor[i] + offset[i] + added[i];
          // A NaN stays one.
          if (relu && value[i] < 0) value[i] = 0;
        }
        store_floats<kWidth>(value, y + at);
      }
    });
  }
};

/// The gradient before ReLU, from its result.
template <int kWidth, class Number>
SOUNDSPOT_DEVICE void before_relu(const Number* y, int64_t at, float* gradient) {
  if (y == nullptr) return;
  float result[kWidth];
  load_floats<kWidth>(y + at, result);
  SOUNDSPOT_UNROLL
  for (int i = 0; i < kWidth; ++i) {
    if (!(result[i] > 0)) gradient[i] = 0;
  }
}

/// Of each chunk of rows Σ dy and Σ dy · (x − mean): [chunks, C] each. `y` is null without ReLU.
template <class Number, int kWidth>
struct BatchGradientSums {
  static constexpr int kThreads = RowTiles::kThreads;
  static constexpr int64_t kShared = kThreads * sizeof(Values<float, 2 * kWidth>);

  RowTiles tiles;
  const Number *x, *gradient, *y;
  const float* mean;
  float *sums, *products;

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    typename Block::template Local<Values<float, 2 * kWidth>> local(block);
    block.own([&](int thread) {
      const TilePlace<kWidth> place(tiles, block, thread);
      Values<float, 2 * kWidth>& own = local[thread];
      own.zero();
      if (place.first >= place.end) return;
      float middle[kWidth];
      SOUNDSPOT_UNROLL
      for (int i = 0; i < kWidth; ++i) middle[i] = mean[place.channel + i];
      for (int64_t row = place.first; row < place.end; row += place.step) {
        const int64_t at = row * tiles.channels + place.channel;
        float value[kWidth], of[kWidth];
        load_floats<kWidth>(x + at, value);
        load_floats<kWidth>(gradient + at, of);
        before_relu<kWidth>(y, at, of);
        SOUNDSPOT_UNROLL
        for (int i = 0; i < kWidth; ++i) {
          own.v[i] += of[i];
          own.v[kWidth + i] += of[i] * (value[i] - middle[i]);
        }
      }
    });
    over_tile<2 * kWidth>(block, tiles, local, block.template shared<Values<float, 2 * kWidth>>(),
                          [&](int thread, const Values<float, 2 * kWidth>& total) {
                            const TilePlace<kWidth> place(tiles, block, thread);
                            if (place.channel >= tiles.channels) return;
                            const int64_t at = block.y() * tiles.channels + place.channel;
                            SOUNDSPOT_UNROLL
                            for (int i = 0; i < kWidth; ++i) {
                              sums[at + i] = total.v[i];
                              products[at + i] = total.v[kWidth + i];
                            }
                          });
  }
};

/// The second stage: totals [2, C], and with them the gradients of weight and bias.
struct JoinGradientSums {
  static constexpr int kThreads = ChunkLanes::kThreads;

  const float *sums, *products;  // [chunks, C]
  int64_t channels, chunks;
  const float* inverse;
  float *totals, *of_weight, *of_bias;

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    typename Block::template Local<float> sum(block), product(block);
    ChunkLanes::sum(block, channels, chunks, sum,
                    [&](int, int64_t channel, int64_t at) { return sums[at * channels + channel]; });
    ChunkLanes::sum(block, channels, chunks, product,
                    [&](int, int64_t channel, int64_t at) { return products[at * channels + channel]; });
    block.own([&](int thread) {
      const int64_t channel = block.x() * ChunkLanes::kChannels + thread;
      if (thread >= ChunkLanes::kChannels || channel >= channels) return;
      totals[channel] = of_bias[channel] = sum[thread];
      totals[channels + channel] = product[thread];
      of_weight[channel] = product[thread] * inverse[channel];
    });
  }
};

/// dx, and where it is wanted the residual's gradient. With `totals` null the statistics were fixed.
template <class Number, int kWidth>
struct BatchGradient {
  static constexpr int kThreads = RowTiles::kThreads;

  RowTiles tiles;
  const Number *x, *gradient, *y;
  const float *mean, *inverse, *weight;
  const float *totals, *count;  // [2, C], [1]
  Number *dx, *of_residual;

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    block.own([&](int thread) {
      const TilePlace<kWidth> place(tiles, block, thread);
      if (place.first >= place.end) return;
      float middle[kWidth], scale[kWidth], offset[kWidth], slope[kWidth];
      SOUNDSPOT_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        const int64_t c = place.channel + i;
        middle[i] = mean[c];
        scale[i] = weight[c] * inverse[c];
        offset[i] = totals != nullptr ? totals[c] / *count : 0;
        slope[i] = totals != nullptr ? totals[tiles.channels + c] / *count * inverse[c] * inverse[c] : 0;
      }
      for (int64_t row = place.first; row < place.end; row += place.step) {
        const int64_t at = row * tiles.channels + place.channel;
        float value[kWidth], of[kWidth], result[kWidth];
        load_floats<kWidth>(x + at, value);
        load_floats<kWidth>(gradient + at, of);
        before_relu<kWidth>(y, at, of);
        SOUNDSPOT_UNROLL
        for (int i = 0; i < kWidth; ++i) {
          result[i] = scale[i] * (of[i] - offset[i] - (value[i] - middle[i]) * slope[i]);
        }
        store_floats<kWidth>(result, dx + at);
        if (of_residual != nullptr) store_floats<kWidth>(of, of_residual + at);
      }
    });
  }
};

}  // namespace soundspot::kernels::cuda
