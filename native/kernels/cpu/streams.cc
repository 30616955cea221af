// Products of few rows with weights that are read once, as they lie.
#include <algorithm>

#include "kernels/cpu/tables.h"
#include "kernels/cpu/vectors.h"

namespace soundspot::kernels {
inline namespace CPU_CAPABILITY {

namespace {

constexpr int64_t kColumns = 512;  // results that stay in the first cache

/// Of a weight whose outputs lie side by side: whole rows of it, added up.
template <int64_t Rows>
void stream_rows(const float* weight, int64_t in_stride, int64_t in, const float* bias, const float* x,
                 int64_t x_stride, float* out, int64_t out_row, int64_t begin, int64_t end) {
  constexpr int64_t kChunk = kLanes >= 16 || Rows <= 2 ? 4 : 2;  // inputs side by side, as registers allow
  const auto add = [&]<int64_t Inputs>(int64_t i, int64_t from, int64_t to) {
    Vec factors[Rows][Inputs];
    for (int64_t r = 0; r < Rows; ++r) {
      for (int64_t k = 0; k < Inputs; ++k) factors[r][k] = Vec(x[r * x_stride + i + k]);
    }
    const auto columns = [&](int64_t column, int64_t count) {
      const auto width = static_cast<int>(count);
      Vec rows[Inputs];
      for (int64_t k = 0; k < Inputs; ++k) rows[k] = Vec::loadu(weight + (i + k) * in_stride + column, width);
      for (int64_t r = 0; r < Rows; ++r) {
        float* const sums = out + r * out_row + column;
        Vec sum = Vec::loadu(sums, width);
        for (int64_t k = 0; k < Inputs; ++k) sum = at::vec::fmadd(factors[r][k], rows[k], sum);
        sum.store(sums, width);
      }
    };
    int64_t column = from;
    for (; column + kLanes <= to; column += kLanes) columns(column, kLanes);
    if (column < to) columns(column, to - column);
  };
  for (int64_t from = begin; from < end; from += kColumns) {
    const int64_t to = std::min(from + kColumns, end);
    for (int64_t r = 0; r < Rows; ++r) {
      float* const row = out + r * out_row;
      if (bias) {
        std::copy(bias + from, bias + to, row + from);
      } else {
        std::fill(row + from, row + to, 0.0f);
      }
    }
    int64_t i = 0;
    for (; i + kChunk <= in; i += kChunk) add.template operator()<kChunk>(i, from, to);
    for (; i < in; ++i) add.template operator()<1>(i, from, to);
  }
}

/// Of a weight whose inputs lie side by side: dot products, some outputs at a time.
template <int64_t Rows>
void stream_columns(const float* weight, int64_t out_stride, int64_t in, const float* bias, const float* x,
                    int64_t x_stride, float* out, int64_t out_row, int64_t begin, int64_t end) {
  constexpr int64_t kOutputs = Rows <= 2 ? 4 : 2;
  const auto dot = [&]<int64_t Outputs>(int64_t column) {
    Vec sums[Outputs][Rows];
    for (auto& of_output : sums) {
      for (Vec& sum : of_output) sum = Vec(0.0f);
    }
    const auto add = [&](int64_t i, int64_t count) {
      const auto width = static_cast<int>(count);
      Vec factors[Rows];
      for (int64_t r = 0; r < Rows; ++r) factors[r] = Vec::loadu(x + r * x_stride + i, width);
      for (int64_t o = 0; o < Outputs; ++o) {
        const Vec row = Vec::loadu(weight + (column + o) * out_stride + i, width);
        for (int64_t r = 0; r < Rows; ++r) sums[o][r] = at::vec::fmadd(factors[r], row, sums[o][r]);
      }
    };
    int64_t i = 0;
    for (; i + kLanes <= in; i += kLanes) add(i, kLanes);
    if (i < in) add(i, in - i);
    for (int64_t o = 0; o < Outputs; ++o) {
      for (int64_t r = 0; r < Rows; ++r) {
        const float sum = at::vec::vec_reduce_all<float>([](Vec& a, Vec& b) { return a + b; }, sums[o][r]);
        out[r * out_row + column + o] = sum + (bias ? bias[column + o] : 0.0f);
      }
    }
  };
  int64_t column = begin;
  for (; column + kOutputs <= end; column += kOutputs) dot.template operator()<kOutputs>(column);
  for (; column < end; ++column) dot.template operator()<1>(column);
}

void stream(const float* weight, int64_t in_stride, int64_t out_stride, int64_t in, const float* bias, const float* x,
            int64_t x_stride, int64_t rows, float* out, int64_t out_row, int64_t begin, int64_t end) {
  const auto with = [&]<int64_t Rows>() {
    if (out_stride == 1) {
      stream_rows<Rows>(weight, in_stride, in, bias, x, x_stride, out, out_row, begin, end);
    } else {
      stream_columns<Rows>(weight, out_stride, in, bias, x, x_stride, out, out_row, begin, end);
    }
  };
  switch (rows) {
    case 1:
      return with.template operator()<1>();
    case 2:
      return with.template operator()<2>();
    case 3:
      return with.template operator()<3>();
    case 4:
      return with.template operator()<4>();
    default:
      break;
  }
}

}  // namespace

void fill_streams(Kernels& table) { table.stream = stream; }

}  // namespace CPU_CAPABILITY
}  // namespace soundspot::kernels
