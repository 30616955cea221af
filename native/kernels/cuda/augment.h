// What augmentation does to a batch of square 8-bit images, and their normalization: the changes that the CPU makes in
// native/signal, bit for bit, each image with its own.
#pragma once

#include "kernels/cuda/block.h"
#include "signal/pixel.h"

namespace soundspot::kernels::cuda {

/// Pixels of a block.
constexpr int64_t kImageChunk = 2048;

/// Square images of one size in interleaved RGB, and the change of each.
struct ChangedImages {
  int64_t size;
  const signal::ImageChange* changes;

  SOUNDSPOT_HOST_DEVICE int64_t pixels() const { return size * size; }
  SOUNDSPOT_HOST_DEVICE int64_t chunks() const { return divided_up(pixels(), kImageChunk); }
  /// Blocks are images × chunks: there may be more images than a grid has rows.
  Grid grid(int64_t count, int64_t shared = 0) const { return {count, chunks(), shared}; }

  /// Calls `work(pixel)` for the pixels of a thread.
  template <class Block, class Work>
  SOUNDSPOT_DEVICE void each_pixel(const Block& block, int thread, const Work& work) const {
    const int64_t first = block.y() * kImageChunk,
                  end = first + kImageChunk < pixels() ? first + kImageChunk : pixels();
    for (int64_t pixel = first + thread; pixel < end; pixel += block.threads()) work(pixel);
  }
};

SOUNDSPOT_DEVICE signal::Rgb pixel_at(const uint8_t* image, int64_t pixel) {
  return {{image[3 * pixel], image[3 * pixel + 1], image[3 * pixel + 2]}};
}

/// Gaussian blurs, along x and then y; other images are copied.
struct GaussianBlurs {
  static constexpr int kThreads = 256;

  ChangedImages images;
  const uint8_t* in;  // [B, size, size, 3]
  uint8_t* out;

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    const signal::ImageChange& change = images.changes[block.x()];
    const int64_t first = block.x() * images.pixels() * 3, size = images.size;
    const uint8_t* const image = in + first;
    block.own([&](int thread) {
      images.each_pixel(block, thread, [&](int64_t pixel) {
        for (int channel = 0; channel < 3; ++channel) {
          uint8_t result = image[3 * pixel + channel];
          if (change.blur == signal::kGaussianBlur) result = blurred(image, change, pixel, channel, size);
          out[first + 3 * pixel + channel] = result;
        }
      });
    });
  }

 private:
  SOUNDSPOT_DEVICE static uint8_t blurred(const uint8_t* image, const signal::ImageChange& change, int64_t pixel,
                                          int channel, int64_t size) {
    constexpr int64_t kRadius = signal::kBlurTaps / 2;
    const int64_t y = pixel / size, x = pixel % size;
    float sum = 0;
    for (int64_t row = 0; row < signal::kBlurTaps; ++row) {
      const uint8_t* const line = image + signal::reflected(y + row - kRadius, size) * size * 3 + channel;
      float along = 0;
      for (int64_t column = 0; column < signal::kBlurTaps; ++column) {
        along += change.weights[column] * static_cast<float>(line[3 * signal::reflected(x + column - kRadius, size)]);
      }
      sum += change.weights[row] * along;
    }
    return signal::rounded(sum);
  }
};

/// Box blurs along one axis, in place: three means of a line in shared memory. A block has a line of an image.
struct BoxBlurs {
  static constexpr int kThreads = 128;

  ChangedImages images;
  bool vertical;
  uint8_t* data;  // [B, size, size, 3]

  Grid grid(int64_t count) const { return {count, images.size, 6 * images.size}; }

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    const signal::ImageChange& change = images.changes[block.x()];
    if (change.blur != signal::kBoxBlur) return;
    const int64_t size = images.size, values = 3 * size, between = vertical ? values : 3;
    uint8_t* const line = data + block.x() * images.pixels() * 3 + block.y() * (vertical ? 3 : values);
    uint8_t* const lines = block.template shared<uint8_t>();
    block.each([&](int thread) {
      for (int64_t i = thread; i < values; i += kThreads) lines[i] = line[i / 3 * between + i % 3];
    });
    constexpr int kTimes = 3;
    for (int time = 0; time < kTimes; ++time) {
      const uint8_t* const from = lines + time % 2 * values;
      uint8_t* const to = lines + (time + 1) % 2 * values;
      block.each([&](int thread) {
        for (int64_t i = thread; i < values; i += kThreads) {
          const auto at = [&](int64_t place) {
            return static_cast<uint32_t>(from[3 * (place < 0 ? 0 : place >= size ? size - 1 : place) + i % 3]);
          };
          const int64_t place = i / 3;
          uint32_t inside = 0;
          for (int64_t k = place - change.radius; k <= place + change.radius; ++k) inside += at(k);
          const uint32_t ends = at(place - change.radius - 1) + at(place + change.radius + 1);
          to[i] = signal::mean_of_box(inside, ends, change);
        }
      });
    }
    block.own([&](int thread) {
      for (int64_t i = thread; i < values; i += kThreads) {
        line[i / 3 * between + i % 3] = lines[kTimes % 2 * values + i];
      }
    });
  }
};

/// Sums of grey values where a change of contrast begins, of each chunk of an image: [B, chunks].
struct GreySums {
  static constexpr int kThreads = 256;
  static constexpr int64_t kShared = kThreads / kWarp * static_cast<int64_t>(sizeof(Values<int64_t, 1>));

  ChangedImages images;
  const uint8_t* in;
  int64_t* sums;

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    const signal::ImageChange& change = images.changes[block.x()];
    if (change.jitter == 0) return;
    const uint8_t* const image = in + block.x() * images.pixels() * 3;
    typename Block::template Local<Values<int64_t, 1>> sum(block);
    block.own([&](int thread) {
      sum[thread].zero();
      images.each_pixel(block, thread, [&](int64_t pixel) {
        signal::Rgb rgb = pixel_at(image, pixel);
        for (int place = 0; place < 4 && change.colour(place) != signal::kContrast; ++place) {
          rgb = signal::changed(rgb, change, change.colour(place), 0);
        }
        sum[thread].v[0] += signal::grey_of(rgb);
      });
    });
    block_sum<int64_t, 1>(block, sum, block.template shared<Values<int64_t, 1>>());
    block.own([&](int thread) {
      if (thread == 0) sums[block.x() * images.chunks() + block.y()] = sum[0].v[0];
    });
  }
};

/// The other changes of each pixel, and its normalization, as [B, size, size, 3].
struct FinishImages {
  static constexpr int kThreads = 256;
  static constexpr int64_t kShared = GreySums::kShared;

  ChangedImages images;
  const uint8_t* in;
  const int64_t* sums;
  float* out;

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    const signal::ImageChange& change = images.changes[block.x()];
    const int64_t first = block.x() * images.pixels() * 3;
    typename Block::template Local<Values<int64_t, 1>> sum(block);
    block.own([&](int thread) {
      sum[thread].zero();
      if (change.jitter == 0) return;
      const int64_t* const own = sums + block.x() * images.chunks();
      for (int64_t chunk = thread; chunk < images.chunks(); chunk += kThreads) sum[thread].v[0] += own[chunk];
    });
    block_sum<int64_t, 1>(block, sum, block.template shared<Values<int64_t, 1>>());
    block.own([&](int thread) {
      const int mean = signal::mean_grey(sum[thread].v[0], images.pixels());
      images.each_pixel(block, thread, [&](int64_t pixel) {
        const signal::Rgb rgb = result_at(in + first, change, pixel, mean);
        for (int channel = 0; channel < 3; ++channel) {
          out[first + 3 * pixel + channel] = signal::normalized(rgb.v[channel], channel);
        }
      });
    });
  }

 private:
  /// From the place of a pixel back to the one that it comes from.
  SOUNDSPOT_DEVICE signal::Rgb result_at(const uint8_t* image, const signal::ImageChange& change, int64_t pixel,
                                         int mean) const {
    const int64_t size = images.size;
    int64_t y = pixel / size, x = pixel % size;
    if (change.hides(y, x, size)) return signal::hidden_pixel();
    y -= change.down;
    x -= change.right;
    if (y < 0 || y >= size || x < 0 || x >= size) return {{0, 0, 0}};
    if (change.vertical_flip != 0) y = size - 1 - y;
    if (change.flip != 0) x = size - 1 - x;
    signal::Rgb rgb = pixel_at(image, y * size + x);
    for (int place = 0; change.jitter != 0 && place < 4; ++place) {
      rgb = signal::changed(rgb, change, change.colour(place), mean);
    }
    if (change.grey != 0) rgb.v[0] = rgb.v[1] = rgb.v[2] = signal::grey_of(rgb);
    return rgb;
  }
};

}  // namespace soundspot::kernels::cuda
