// The first convolution of an encoder, 7 × 7 with stride 2, and the pooling behind it, row by row: what lies between
// them, the largest tensor of a pass, never leaves the second cache.
#include <algorithm>
#include <array>

#include "kernels/cpu/tables.h"
#include "kernels/cpu/vectors.h"

namespace soundspot::kernels {
inline namespace CPU_CAPABILITY {

namespace {

constexpr int64_t kPixels = kLanes >= 16 ? 14 : 3;  // whose sums fit into the registers

/// The results of a row of pixels, from `weight` [channels · 49][32] on: lines [channels][7][line].
template <int64_t Pixels>
void filter_pixels(const float* lines, int64_t line, int64_t count, const float* weight, const float* bias, float* out,
                   int64_t out_stride) {
  Vec sums[Pixels][kVectors];
  for (int64_t v = 0; v < kVectors; ++v) {
    const Vec start = Vec::loadu(bias + v * kLanes);
    for (int64_t p = 0; p < Pixels; ++p) sums[p][v] = start;
  }
  for (int64_t l = 0; l < count; ++l) {
    for (int64_t k = 0; k < kStem; ++k, weight += kPanel) {
      Vec row[kVectors];
      for (int64_t v = 0; v < kVectors; ++v) row[v] = Vec::loadu(weight + v * kLanes);
      for (int64_t p = 0; p < Pixels; ++p) {
        const Vec factor(lines[l * line + 2 * p + k]);
        for (int64_t v = 0; v < kVectors; ++v) sums[p][v] = at::vec::fmadd(factor, row[v], sums[p][v]);
      }
    }
  }
  for (int64_t p = 0; p < Pixels; ++p) {
    for (int64_t v = 0; v < kVectors; ++v) {
      at::vec::maximum(sums[p][v], Vec(0.0f)).store(out + p * out_stride + v * kLanes);
    }
  }
}

/// Row `y` of the convolution's results, [width][out]. `lines` is a scratch.
void filter_row(const float* x, const StemSizes& sizes, int64_t y, const float* weight, const float* bias, float* lines,
                float* out) {
  const int64_t line = sizes.line(), count = sizes.channels * kStem, width = sizes.filtered_width();
  for (int64_t c = 0; c < sizes.channels; ++c) {
    for (int64_t k = 0; k < kStem; ++k) {
      float* const to = lines + (c * kStem + k) * line;
      const int64_t row = 2 * y + k - kStemPadding;
      std::fill_n(to, line, 0.0f);
      if (row < 0 || row >= sizes.height) continue;
      std::copy_n(x + (c * sizes.height + row) * sizes.width, sizes.width, to + kStemPadding);
    }
  }
  for (int64_t panel = 0; panel < sizes.out; panel += kPanel, weight += count * kStem * kPanel) {
    const auto pixels = [&]<int64_t Pixels>(int64_t first) {
      filter_pixels<Pixels>(lines + 2 * first, line, count, weight, bias + panel, out + first * sizes.out + panel,
                            sizes.out);
    };
    if (width < kPixels) {
      for (int64_t first = 0; first < width; ++first) pixels.template operator()<1>(first);
      continue;
    }
    // The last ones overlap with those before them.
    for (int64_t first = 0; first < width; first += kPixels) {
      pixels.template operator()<kPixels>(std::min(first, width - kPixels));
    }
  }
}

/// Maximum over three columns, with stride 2 and padding 1, of `count` rows that hold no negative number.
void pool_rows(const std::array<const float*, 3>& rows, int64_t count, int64_t width, int64_t channels, float* out) {
  for (int64_t x = 0; 2 * x < width; ++x, out += channels) {
    const int64_t left = std::max<int64_t>(2 * x - 1, 0), right = std::min(2 * x + 1, width - 1);
    for (int64_t c = 0; c < channels; c += kLanes) {
      Vec most(0.0f);
      for (int64_t r = 0; r < count; ++r) {
        for (int64_t column = left; column <= right; ++column) {
          most = at::vec::maximum(most, Vec::loadu(rows[static_cast<size_t>(r)] + column * channels + c));
        }
      }
      most.store(out + c);
    }
  }
}

void stem(const float* x, const StemSizes& sizes, const float* weight, const float* bias, float* scratch, float* y,
          int64_t begin, int64_t end) {
  const int64_t height = sizes.filtered_height(), width = sizes.filtered_width(), row_size = width * sizes.out,
                pooled = (width + 1) / 2 * sizes.out;
  float* const kept = scratch + sizes.channels * kStem * sizes.line();  // three rows
  int64_t done = std::max<int64_t>(2 * begin - 1, 0);                   // rows that are filtered
  for (int64_t row = begin; row < end; ++row) {
    const int64_t first = std::max<int64_t>(2 * row - 1, 0), behind = std::min(2 * row + 2, height);
    for (; done < behind; ++done) filter_row(x, sizes, done, weight, bias, scratch, kept + done % 3 * row_size);
    std::array<const float*, 3> rows{};
    for (int64_t r = first; r < behind; ++r) rows[static_cast<size_t>(r - first)] = kept + r % 3 * row_size;
    pool_rows(rows, behind - first, width, sizes.out, y + row * pooled);
  }
}

}  // namespace

void fill_stem(Kernels& table) { table.stem = stem; }

}  // namespace CPU_CAPABILITY
}  // namespace soundspot::kernels
