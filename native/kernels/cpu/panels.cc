// Products of many rows with a packed factor, a panel at a time.
#include <algorithm>

#include "kernels/cpu/tables.h"
#include "kernels/cpu/vectors.h"

namespace soundspot::kernels {
inline namespace CPU_CAPABILITY {

namespace {

/// Inputs of a panel that are multiplied at a time. They stay in the first cache (24 KB) while rows pass over them; and
/// sums over many inputs, such as those of a gradient over all rows of a batch, are made of sums over these, which
/// round less than one long sum.
constexpr int64_t kInner = 192;

/// out [Rows, 32] = x · the inputs of a panel from `weight` on + bias, or added to what `out` holds where there is no
/// bias. `Turned`: rows of x lie side by side.
template <int64_t Rows, bool Turned>
void multiply_block(const float* weight, int64_t in, const float* x, int64_t x_stride, const float* bias, bool relu,
                    float* out, int64_t out_stride) {
  Vec sums[Rows][kVectors];
  for (int64_t r = 0; r < Rows; ++r) {
    for (int64_t v = 0; v < kVectors; ++v) sums[r][v] = bias ? Vec::loadu(bias + v * kLanes) : Vec(0.0f);
  }
  for (int64_t i = 0; i < in; ++i) {
    Vec row[kVectors];
    for (int64_t v = 0; v < kVectors; ++v) row[v] = Vec::loadu(weight + i * kPanel + v * kLanes);
    for (int64_t r = 0; r < Rows; ++r) {
      const Vec factor(Turned ? x[i * x_stride + r] : x[r * x_stride + i]);
      for (int64_t v = 0; v < kVectors; ++v) sums[r][v] = at::vec::fmadd(factor, row[v], sums[r][v]);
    }
  }
  for (int64_t r = 0; r < Rows; ++r) {
    for (int64_t v = 0; v < kVectors; ++v) {
      float* const to = out + r * out_stride + v * kLanes;
      const Vec sum = bias ? sums[r][v] : sums[r][v] + Vec::loadu(to);
      (relu ? at::vec::maximum(sum, Vec(0.0f)) : sum).store(to);
    }
  }
}

/// Added to what `out` holds where there is no bias.
template <bool Turned>
void multiply_panel(const float* weight, const float* bias, int64_t in, const float* x, int64_t x_stride, int64_t rows,
                    float* out, int64_t out_stride, bool relu) {
  for (int64_t from = 0; from == 0 || from < in; from += kInner) {
    const int64_t count = std::min(kInner, in - from);
    const bool last = from + count >= in;
    int64_t r = 0;
    const auto block = [&]<int64_t Count>() {
      for (; r + Count <= rows; r += Count) {
        multiply_block<Count, Turned>(weight + from * kPanel, count,
                                      Turned ? x + from * x_stride + r : x + r * x_stride + from, x_stride,
                                      from == 0 ? bias : nullptr, last && relu, out + r * out_stride, out_stride);
      }
    };
    block.template operator()<kRows>();
    if constexpr (kRows > 4) block.template operator()<4>();
    block.template operator()<2>();
    block.template operator()<1>();
  }
}

void multiply_rows_of_panel(const Panels& weight, const LeftFactor& x, float* out, int64_t out_stride, int64_t panel,
                            int64_t columns, int64_t begin, int64_t end, bool relu) {
  constexpr int64_t kAtATime = 24;  // rows of a panel that is not full, on their way to `out`
  const float* const from = weight.full + panel * weight.in * kPanel;
  float bias[kPanel] = {};
  if (weight.bias) std::copy_n(weight.bias + panel * kPanel, columns, bias);
  const bool turned = x.inner != 1;
  const auto rows = [&](int64_t first, int64_t count, float* to, int64_t stride) {
    const float* const left = x.data + first * x.row;
    if (turned) {
      multiply_panel<true>(from, bias, weight.in, left, x.inner, count, to, stride, relu);
    } else {
      multiply_panel<false>(from, bias, weight.in, left, x.row, count, to, stride, relu);
    }
  };
  float* const to = out + panel * kPanel;
  if (columns == kPanel) return rows(begin, end - begin, to + begin * out_stride, out_stride);
  float held[kAtATime * kPanel];
  for (int64_t first = begin; first < end; first += kAtATime) {
    const int64_t count = std::min(kAtATime, end - first);
    rows(first, count, held, kPanel);
    for (int64_t r = 0; r < count; ++r) std::copy_n(held + r * kPanel, columns, to + (first + r) * out_stride);
  }
}

void accumulate_rows_of_panel(const float* panel, int64_t in, const LeftFactor& x, int64_t rows, float* out,
                              int64_t out_stride, bool add) {
  const float zeros[kPanel] = {};
  const float* const bias = add ? nullptr : zeros;
  if (x.inner != 1) {
    multiply_panel<true>(panel, bias, in, x.data, x.inner, rows, out, out_stride, /*relu=*/false);
  } else {
    multiply_panel<false>(panel, bias, in, x.data, x.row, rows, out, out_stride, /*relu=*/false);
  }
}

}  // namespace

void fill_panels(Kernels& table) {
  table.multiply_rows = multiply_rows_of_panel;
  table.accumulate_rows = accumulate_rows_of_panel;
}

}  // namespace CPU_CAPABILITY
}  // namespace soundspot::kernels
