// Products of rows with packed weights, for inference, and the packing.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/tables.h"
#include "kernels/cpu/vectors.h"

namespace soundspot::kernels {
inline namespace CPU_CAPABILITY {

namespace {

constexpr int64_t kBlock = 16;  // inputs that are packed at a time

void load_row(const float* from, Vec (&row)[kVectors]) {
  for (int64_t v = 0; v < kVectors; ++v) row[v] = Vec::loadu(from + v * kLanes);
}

void load_row(const bfloat16_bits* from, Vec (&row)[kVectors]) {
  using Half = at::vec::Vectorized<c10::BFloat16>;
  for (int64_t v = 0; v < kVectors; v += 2) {
    std::tie(row[v], row[v + 1]) = at::vec::convert_bfloat16_float(Half::loadu(from + v * kLanes));
  }
}

constexpr int64_t kLine = 64;  // bytes of a cache line

/// With `Fetch` the panel behind this one is brought into the cache on the way: the processor's own prefetching starts
/// anew with every page.
template <int64_t Rows, bool Fetch, class Weight>
void multiply_rows(const Weight* weight, const float* bias, int64_t in, const float* x, int64_t x_stride, float* out,
                   int64_t out_stride, bool relu) {
  Vec sums[Rows][kVectors];
  for (int64_t v = 0; v < kVectors; ++v) {
    const Vec start = bias ? Vec::loadu(bias + v * kLanes) : Vec(0.0f);
    for (int64_t r = 0; r < Rows; ++r) sums[r][v] = start;
  }
  for (int64_t i = 0; i < in; ++i) {
    Vec row[kVectors];
    load_row(weight + i * kPanel, row);
    if constexpr (Fetch) {
      const char* const ahead = reinterpret_cast<const char*>(weight + (in + i) * kPanel);
      for (int64_t byte = 0; byte < kPanel * static_cast<int64_t>(sizeof(Weight)); byte += kLine) {
        __builtin_prefetch(ahead + byte, /*rw=*/0, /*locality=*/2);
      }
    }
    for (int64_t r = 0; r < Rows; ++r) {
      const Vec factor(x[r * x_stride + i]);
      for (int64_t v = 0; v < kVectors; ++v) sums[r][v] = at::vec::fmadd(factor, row[v], sums[r][v]);
    }
  }
  for (int64_t r = 0; r < Rows; ++r) {
    for (int64_t v = 0; v < kVectors; ++v) {
      float* to = out + r * out_stride + v * kLanes;
      (relu ? at::vec::maximum(sums[r][v], Vec(0.0f)) : sums[r][v]).store(to);
    }
  }
}

template <class Weight>
void multiply_panels(const Weight* weight, const float* bias, int64_t in, const float* x, int64_t x_stride,
                     int64_t rows, float* out, int64_t out_stride, int64_t begin, int64_t end, bool relu) {
  for (int64_t panel = begin; panel < end; ++panel) {
    const Weight* from = weight + panel * in * kPanel;
    const float* start = bias ? bias + panel * kPanel : nullptr;
    float* to = out + panel * kPanel;
    int64_t r = 0;
    const auto block = [&]<int64_t Rows>() {
      const auto with = [&]<bool Fetch>() {
        multiply_rows<Rows, Fetch>(from, start, in, x + r * x_stride, x_stride, to + r * out_stride, out_stride, relu);
        r += Rows;
      };
      // One or two rows wait for their weights all the time: there is no arithmetic to fetch behind.
      if (Rows > 2 && r == 0 && Rows <= rows) with.template operator()<true>();
      while (r + Rows <= rows) with.template operator()<false>();
    };
    block.template operator()<kRows>();
    if constexpr (kRows > 4) block.template operator()<4>();
    block.template operator()<2>();
    block.template operator()<1>();
  }
}

void multiply(const Panels& weight, const float* x, int64_t x_stride, int64_t rows, float* out, int64_t out_stride,
              int64_t begin, int64_t end, bool relu) {
  if (weight.half) {
    multiply_panels(weight.half, weight.bias, weight.in, x, x_stride, rows, out, out_stride, begin, end, relu);
  } else {
    multiply_panels(weight.full, weight.bias, weight.in, x, x_stride, rows, out, out_stride, begin, end, relu);
  }
}

/// `count` inputs of a panel, from `weight` on, of which `columns` outputs are there.
void pack_block(const float* weight, int64_t in_stride, int64_t out_stride, int64_t count, int64_t columns,
                float* out) {
  if (columns < kPanel) std::fill_n(out, count * kPanel, 0.0f);
  if (out_stride == 1) {
    for (int64_t i = 0; i < count; ++i) std::copy_n(weight + i * in_stride, columns, out + i * kPanel);
    return;
  }
  at::vec::transpose_mxn(weight, out_stride, out, kPanel, static_cast<int>(columns), static_cast<int>(count));
}

void pack(const float* weight, int64_t in_stride, int64_t out_stride, int64_t in, int64_t out, int64_t begin,
          int64_t end, float* panels) {
  for (int64_t panel = begin; panel < end; ++panel) {
    for (int64_t i = 0; i < in; i += kBlock) {
      pack_block(weight + panel * kPanel * out_stride + i * in_stride, in_stride, out_stride, std::min(kBlock, in - i),
                 std::min(kPanel, out - panel * kPanel), panels + (panel * in + i) * kPanel);
    }
  }
}

#ifdef __AVX512BF16__
/// Two vectors wide, as a panel is.
template <int64_t Rows>
void multiply_pair_rows(const bfloat16_bits* weight, const float* bias, int64_t in, const bfloat16_bits* x,
                        int64_t x_stride, float* out, int64_t out_stride, bool relu) {
  const __m512 zero = _mm512_setzero_ps();
  __m512 sums[Rows][2];
  for (auto& row : sums) {
    row[0] = bias ? _mm512_loadu_ps(bias) : zero;
    row[1] = bias ? _mm512_loadu_ps(bias + kLanes) : zero;
  }
  for (int64_t i = 0; i < in; i += 2) {
    const auto left = reinterpret_cast<__m512bh>(_mm512_loadu_si512(weight + i * kPanel));
    const auto right = reinterpret_cast<__m512bh>(_mm512_loadu_si512(weight + i * kPanel + kPanel));
    for (int64_t r = 0; r < Rows; ++r) {
      int32_t pair;
      std::memcpy(&pair, x + r * x_stride + i, sizeof(pair));
      const auto factor = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
      sums[r][0] = _mm512_dpbf16_ps(sums[r][0], left, factor);
      sums[r][1] = _mm512_dpbf16_ps(sums[r][1], right, factor);
    }
  }
  for (int64_t r = 0; r < Rows; ++r) {
    for (int64_t v = 0; v < 2; ++v) {
      _mm512_storeu_ps(out + r * out_stride + v * kLanes, relu ? _mm512_max_ps(sums[r][v], zero) : sums[r][v]);
    }
  }
}

void multiply_pairs(const Panels& weight, const bfloat16_bits* x, int64_t x_stride, int64_t rows, float* out,
                    int64_t out_stride, int64_t begin, int64_t end, bool relu) {
  for (int64_t panel = begin; panel < end; ++panel) {
    int64_t r = 0;
    const auto block = [&]<int64_t Rows>() {
      for (; r + Rows <= rows; r += Rows) {
        multiply_pair_rows<Rows>(weight.pairs + panel * weight.in * kPanel,
                                 weight.bias ? weight.bias + panel * kPanel : nullptr, weight.in, x + r * x_stride,
                                 x_stride, out + r * out_stride + panel * kPanel, out_stride, relu);
      }
    };
    block.template operator()<12>();
    block.template operator()<4>();
    block.template operator()<1>();
  }
}

__m512i rounded(const float* from) {
  return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(from))));
}

void pack_pairs(const float* weight, int64_t in_stride, int64_t out_stride, int64_t in, int64_t begin, int64_t end,
                bfloat16_bits* panels) {
  float block[kBlock * kPanel];
  for (int64_t panel = begin; panel < end; ++panel) {
    for (int64_t first = 0; first < in; first += kBlock) {
      const int64_t count = std::min(kBlock, in - first);
      pack_block(weight + panel * kPanel * out_stride + first * in_stride, in_stride, out_stride, count, kPanel, block);
      bfloat16_bits* to = panels + (panel * in + first) * kPanel;
      for (int64_t i = 0; i < count; i += 2) {
        for (int64_t c = 0; c < kPanel; c += kLanes) {
          const float* from = block + i * kPanel + c;
          const __m512i pair = _mm512_or_si512(rounded(from), _mm512_slli_epi32(rounded(from + kPanel), 16));
          _mm512_storeu_si512(to + i * kPanel + 2 * c, pair);
        }
      }
    }
  }
}
#endif

}  // namespace

void fill_products(Kernels& table) {
  table.multiply = multiply;
  table.pack = pack;
#ifdef __AVX512BF16__
  table.multiply_pairs = multiply_pairs;
  table.pack_pairs = pack_pairs;
#endif
}

}  // namespace CPU_CAPABILITY
}  // namespace soundspot::kernels
