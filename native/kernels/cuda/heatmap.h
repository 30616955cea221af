// Maps over tokens to maps at an image's size: enlarged as torch's `interpolate` does, scaled to [0, 1], the maximum
// over target slots, and the mask of what is at or above a threshold. Enlarged values are computed twice, for the
// extremes and for the result: cheaper than to write and read them.
#pragma once

#include "kernels/cuda/block.h"

namespace soundspot::kernels::cuda {

/// Up to four samples with their weights, for one row or column of pixels.
struct Taps {
  int place[4];
  float weight[4];
};

/// How side × side tokens become height × width pixels.
struct Enlargement {
  int64_t side, height, width;
  bool bicubic;        // Keys' with a = −0.75, else bilinear
  bool corners;        // `align_corners`
  float span, offset;  // as in MapResize

  SOUNDSPOT_DEVICE Taps taps(int64_t pixel, int64_t pixels) const {
    const auto from = static_cast<float>(side), to = static_cast<float>(pixels), at = static_cast<float>(pixel);
    const float place = corners ? (pixels > 1 ? at * (from - 1) / (to - 1) : 0) : (at + 0.5F) * span / to - offset;
    const float below = floorf(place), t = place - below;
    Taps taps;
    if (bicubic) {
      constexpr float a = -0.75F;
      const auto near = [](float d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
      const auto far = [](float d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
      taps.weight[0] = far(t + 1);
      taps.weight[1] = near(t);
      taps.weight[2] = near(1 - t);
      taps.weight[3] = far(2 - t);
    } else {
      taps.weight[0] = taps.weight[3] = 0;
      taps.weight[1] = 1 - t;
      taps.weight[2] = t;
    }
    SOUNDSPOT_UNROLL
    for (int k = 0; k < 4; ++k) {
      const int sample = static_cast<int>(below) + k - 1, last = static_cast<int>(side) - 1;
      taps.place[k] = sample < 0 ? 0 : sample > last ? last : sample;
    }
    return taps;
  }

  /// Of a map [side, side]. Weights have the sum 1, so that they may be of differences from one sample: a constant map
  /// stays constant to the last bit.
  SOUNDSPOT_DEVICE float value(const float* map, int64_t pixel) const {
    const Taps rows = taps(pixel / width, height), columns = taps(pixel % width, width);
    const float middle = map[rows.place[1] * side + columns.place[1]];
    float total = 0;
    SOUNDSPOT_UNROLL
    for (int r = 0; r < 4; ++r) {
      const float* const row = map + rows.place[r] * side;
      float sum = 0;
      SOUNDSPOT_UNROLL
      for (int c = 0; c < 4; ++c) sum += columns.weight[c] * (row[columns.place[c]] - middle);
      total += rows.weight[r] * sum;
    }
    return middle + total;
  }
};

/// Pixels of a block.
constexpr int64_t kMapChunk = 2048;

/// Least and greatest value of a chunk of pixels of each map: [maps, chunks, 2].
struct MapExtremes {
  static constexpr int kThreads = 256;

  Enlargement sizes;
  const float* maps;  // [maps, side, side]
  float* partial;

  /// Blocks are chunks × maps. Shared memory holds a map, then two numbers a thread.
  Grid grid(int64_t count) const {
    return {divided_up(sizes.height * sizes.width, kMapChunk), count,
            (sizes.side * sizes.side + 2 * kThreads) * static_cast<int64_t>(sizeof(float))};
  }

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    const int64_t tokens = sizes.side * sizes.side, pixels = sizes.height * sizes.width;
    float *const map = block.template shared<float>(), *const low = map + tokens, *const high = low + kThreads;
    block.each([&](int thread) {
      for (int64_t i = thread; i < tokens; i += kThreads) map[i] = maps[block.y() * tokens + i];
    });
    block.each([&](int thread) {
      const int64_t first = block.x() * kMapChunk, end = first + kMapChunk < pixels ? first + kMapChunk : pixels;
      low[thread] = high[thread] = sizes.value(map, first);
      for (int64_t pixel = first + thread; pixel < end; pixel += kThreads) {
        const float value = sizes.value(map, pixel);
        low[thread] = fminf(low[thread], value);
        high[thread] = fmaxf(high[thread], value);
      }
    });
    for (int apart = kThreads / 2; apart > 0; apart /= 2) {
      block.each([&](int thread) {
        if (thread >= apart) return;
        low[thread] = fminf(low[thread], low[thread + apart]);
        high[thread] = fmaxf(high[thread], high[thread + apart]);
      });
    }
    block.own([&](int thread) {
      if (thread != 0) return;
      float* const out = partial + 2 * (block.y() * block.blocks_x() + block.x());
      out[0] = low[0];
      out[1] = high[0];
    });
  }
};

/// What is subtracted from each map and what it is divided by: [maps, 2]. A map that is constant but for rounding stays
/// as it is. A thread has a map.
struct MapScales {
  static constexpr int kThreads = 64;

  int64_t maps, chunks;
  const float* partial;
  float* scales;

  Grid grid() const { return {divided_up(maps, kThreads)}; }

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    block.own([&](int thread) {
      const int64_t map = block.x() * kThreads + thread;
      if (map >= maps) return;
      const float* const own = partial + 2 * map * chunks;
      float low = own[0], high = own[1];
      for (int64_t chunk = 1; chunk < chunks; ++chunk) {
        low = fminf(low, own[2 * chunk]);
        high = fmaxf(high, own[2 * chunk + 1]);
      }
      const bool varies = high - low > 1e-6F * fmaxf(fabsf(high), fabsf(low));
      scales[2 * map] = varies ? low : 0;
      scales[2 * map + 1] = varies ? high - low : 1;
    });
  }
};

/// The result [B, height, width], and where it is wanted the mask.
struct MapResult {
  static constexpr int kThreads = 256;

  Enlargement sizes;
  int64_t targets;
  const float* maps;    // [B, T, side, side]
  const float* scales;  // [B, T, 2], or null: low and length below
  float low, length;
  float threshold;
  float* result;
  uint8_t* mask;

  Grid grid(int64_t batch) const {
    return {divided_up(sizes.height * sizes.width, kMapChunk), batch,
            sizes.side * sizes.side * static_cast<int64_t>(sizeof(float))};
  }

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    constexpr int kPixels = kMapChunk / kThreads;  // of a thread
    const int64_t tokens = sizes.side * sizes.side, pixels = sizes.height * sizes.width;
    float* const own = block.template shared<float>();
    typename Block::template Local<Values<float, kPixels>> greatest(block);
    for (int64_t target = 0; target < targets; ++target) {
      const int64_t map = block.y() * targets + target;
      block.each([&](int thread) {
        for (int64_t i = thread; i < tokens; i += kThreads) own[i] = maps[map * tokens + i];
      });
      block.each([&](int thread) {
        const float least = scales != nullptr ? scales[2 * map] : low,
                    range = scales != nullptr ? scales[2 * map + 1] : length;
        SOUNDSPOT_UNROLL
        for (int k = 0; k < kPixels; ++k) {
          const int64_t pixel = block.x() * kMapChunk + k * kThreads + thread;
          if (pixel >= pixels) continue;
          const float value = (sizes.value(own, pixel) - least) / range;
          // A NaN stays one, of whichever target it is.
          if (target == 0 || value > greatest[thread].v[k] || value != value) greatest[thread].v[k] = value;
        }
      });
    }
    block.own([&](int thread) {
      SOUNDSPOT_UNROLL
      for (int k = 0; k < kPixels; ++k) {
        const int64_t pixel = block.x() * kMapChunk + k * kThreads + thread;
        if (pixel >= pixels) continue;
        result[block.y() * pixels + pixel] = greatest[thread].v[k];
        if (mask != nullptr) mask[block.y() * pixels + pixel] = greatest[thread].v[k] >= threshold ? 1 : 0;
      }
    });
  }
};

}  // namespace soundspot::kernels::cuda
