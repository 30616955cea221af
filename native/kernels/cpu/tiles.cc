// Products of transformed tiles with transformed weights, most of the time of a convolution by tiles. Both lie in the
// order in which they are read, at distances that the compiler knows.
#include <algorithm>
#include <utility>

#include "kernels/cpu/tables.h"
#include "kernels/cpu/vectors.h"

namespace soundspot::kernels {
inline namespace CPU_CAPABILITY {

namespace {

/// Vectors of a row and rows whose sums fit into the registers, beside a vector of the weight each and a factor.
constexpr int64_t kWide = 2, kHigh = kLanes >= 16 ? 14 : 6;
constexpr int64_t kColumns = kWide * kLanes;
static_assert(kPanel % kColumns == 0);

constexpr int64_t kLine = 64 / sizeof(float);  // numbers of a cache line

/// out [Rows][32] = x · a panel, of which kColumns are computed. With `Ahead` one line each of what follows the panel
/// is brought into the second cache for each input: the processor's own prefetching starts anew with every page.
template <int64_t Rows, bool Ahead>
void multiply_block(const float* weight, int64_t in, const float* x, int64_t rows, const float* ahead, float* out) {
  Vec sums[Rows][kWide];
  for (auto& row : sums) {
    for (Vec& sum : row) sum = Vec(0.0f);
  }
  for (int64_t first = 0; first < in; first += kPanel, x += rows * kPanel) {
    for (int64_t i = 0; i < kPanel; ++i, weight += kPanel) {
      Vec row[kWide];
      for (int64_t v = 0; v < kWide; ++v) row[v] = Vec::loadu(weight + v * kLanes);
      if constexpr (Ahead) __builtin_prefetch(ahead + (first + i) * kLine, /*rw=*/0, /*locality=*/2);
      for (int64_t r = 0; r < Rows; ++r) {
        const Vec factor(x[r * kPanel + i]);
        for (int64_t v = 0; v < kWide; ++v) sums[r][v] = at::vec::fmadd(factor, row[v], sums[r][v]);
      }
    }
  }
  for (int64_t r = 0; r < Rows; ++r) {
    for (int64_t v = 0; v < kWide; ++v) sums[r][v].store(out + r * kPanel + v * kLanes);
  }
}

/// The same for 1 to kHigh rows.
template <bool Ahead>
void multiply_block_of(int64_t count, const float* weight, int64_t in, const float* x, int64_t rows, const float* ahead,
                       float* out) {
  const auto choose = [&]<size_t... Less>(std::index_sequence<Less...>) {
    ((count == static_cast<int64_t>(Less) + 1
          ? multiply_block<static_cast<int64_t>(Less) + 1, Ahead>(weight, in, x, rows, ahead, out)
          : void()),
     ...);
  };
  choose(std::make_index_sequence<kHigh>());
}

void multiply_tiles(const float* weight, int64_t in, int64_t panels, const float* x, int64_t rows, float* out) {
  const int64_t blocks = (rows + kHigh - 1) / kHigh;
  for (int64_t panel = 0; panel < panels; ++panel, weight += in * kPanel, out += rows * kPanel) {
    const float* const next = weight + in * kPanel;
    int64_t first = 0, fetched = 0;  // rows, and lines for each input
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t count = (rows - first + blocks - block - 1) / (blocks - block);  // nearly equal ones
      for (int64_t column = 0; column < kPanel; column += kColumns) {
        const auto* const from = x + first * kPanel;
        float* const to = out + first * kPanel + column;
        if (fetched < kPanel / kLine) {
          multiply_block_of<true>(count, weight + column, in, from, rows, next + fetched++ * in * kLine, to);
        } else {
          multiply_block_of<false>(count, weight + column, in, from, rows, nullptr, to);
        }
      }
      first += count;
    }
  }
}

}  // namespace

void fill_tiles(Kernels& table) { table.multiply_tiles = multiply_tiles; }

}  // namespace CPU_CAPABILITY
}  // namespace soundspot::kernels
