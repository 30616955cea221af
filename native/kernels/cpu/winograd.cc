// Winograd's minimal filtering (Lavin and Gray, arXiv 1509.09308): F(4 × 4, 3 × 3) makes 16 results of a 3 × 3
// convolution from 36 products of each pair of channels in place of 144, F(2 × 2, 3 × 3) 4 results from 16 in place
// of 36.
#include <algorithm>
#include <limits>
#include <type_traits>
#include <utility>

#include "kernels/cpu/tables.h"
#include "kernels/cpu/vectors.h"

namespace soundspot::kernels {
inline namespace CPU_CAPABILITY {

namespace {

/// The transforms of one column or row of a tile with this many results; both ways of a tile are made of them.
template <int64_t kOutput>
struct Line;

/// It interpolates at 0, ±a, ±b and ∞. These a and b lose a third of what the usual 1 and 2 lose to rounding.
template <>
struct Line<4> {
  static constexpr int64_t kInput = 6;
  static constexpr float kA = 11.0f / 16, kB = 3.0f / 2, kA2 = kA * kA, kB2 = kB * kB;

  /// G w, for a panel's outputs.
  static void weight(const float (&w)[3][kPanel], float (&out)[kInput][kPanel]) {
    constexpr float of_a = 2 * kA2 * (kA2 - kB2), of_b = 2 * kB2 * (kB2 - kA2);
    for (int64_t o = 0; o < kPanel; ++o) {
      const float even_a = (w[0][o] + kA2 * w[2][o]) / of_a, odd_a = kA * w[1][o] / of_a;
      const float even_b = (w[0][o] + kB2 * w[2][o]) / of_b, odd_b = kB * w[1][o] / of_b;
      out[0][o] = w[0][o] / (kA2 * kB2);
      out[1][o] = even_a + odd_a;
      out[2][o] = even_a - odd_a;
      out[3][o] = even_b + odd_b;
      out[4][o] = even_b - odd_b;
      out[5][o] = w[2][o];
    }
  }

  /// Bᵀ d.
  static void input(const Vec (&d)[kInput], Vec* out, int64_t stride) {
    const Vec both(-kA2 - kB2), product(kA2 * kB2);
    const Vec even_a = at::vec::fmadd(Vec(-kB2), d[2], d[4]), odd_a = Vec(kA) * at::vec::fmadd(Vec(-kB2), d[1], d[3]);
    const Vec even_b = at::vec::fmadd(Vec(-kA2), d[2], d[4]), odd_b = Vec(kB) * at::vec::fmadd(Vec(-kA2), d[1], d[3]);
    out[0] = at::vec::fmadd(product, d[0], at::vec::fmadd(both, d[2], d[4]));
    out[stride] = even_a + odd_a;
    out[2 * stride] = even_a - odd_a;
    out[3 * stride] = even_b + odd_b;
    out[4 * stride] = even_b - odd_b;
    out[5 * stride] = at::vec::fmadd(product, d[1], at::vec::fmadd(both, d[3], d[5]));
  }

  /// Aᵀ m.
  static void output(const Vec (&m)[kInput], Vec* out, int64_t stride) {
    const Vec sum_a = m[1] + m[2], apart_a = m[1] - m[2], sum_b = m[3] + m[4], apart_b = m[3] - m[4];
    out[0] = m[0] + sum_a + sum_b;
    out[stride] = at::vec::fmadd(Vec(kA), apart_a, Vec(kB) * apart_b);
    out[2 * stride] = at::vec::fmadd(Vec(kA2), sum_a, Vec(kB2) * sum_b);
    out[3 * stride] = at::vec::fmadd(Vec(kA2 * kA), apart_a, at::vec::fmadd(Vec(kB2 * kB), apart_b, m[5]));
  }

  /// A g.
  static void output_gradient(const Vec (&g)[4], Vec* out, int64_t stride) {
    const Vec even_a = at::vec::fmadd(Vec(kA2), g[2], g[0]), odd_a = Vec(kA) * at::vec::fmadd(Vec(kA2), g[3], g[1]);
    const Vec even_b = at::vec::fmadd(Vec(kB2), g[2], g[0]), odd_b = Vec(kB) * at::vec::fmadd(Vec(kB2), g[3], g[1]);
    out[0] = g[0];
    out[stride] = even_a + odd_a;
    out[2 * stride] = even_a - odd_a;
    out[3 * stride] = even_b + odd_b;
    out[4 * stride] = even_b - odd_b;
    out[5 * stride] = g[3];
  }

  /// Gᵀ u.
  static void weight_gradient(const Vec (&u)[kInput], Vec* out, int64_t stride) {
    constexpr float of_a = 2 * kA2 * (kA2 - kB2), of_b = 2 * kB2 * (kB2 - kA2);
    const Vec even_a = (u[1] + u[2]) * Vec(1 / of_a), odd_a = (u[1] - u[2]) * Vec(kA / of_a);
    const Vec even_b = (u[3] + u[4]) * Vec(1 / of_b), odd_b = (u[3] - u[4]) * Vec(kB / of_b);
    out[0] = at::vec::fmadd(Vec(1 / (kA2 * kB2)), u[0], even_a + even_b);
    out[stride] = odd_a + odd_b;
    out[2 * stride] = at::vec::fmadd(Vec(kA2), even_a, at::vec::fmadd(Vec(kB2), even_b, u[5]));
  }
};

/// It interpolates at 0, ±1 and ∞.
template <>
struct Line<2> {
  static constexpr int64_t kInput = 4;

  static void weight(const float (&w)[3][kPanel], float (&out)[kInput][kPanel]) {
    for (int64_t o = 0; o < kPanel; ++o) {
      const float even = (w[0][o] + w[2][o]) / 2, odd = w[1][o] / 2;
      out[0][o] = w[0][o];
      out[1][o] = even + odd;
      out[2][o] = even - odd;
      out[3][o] = w[2][o];
    }
  }

  static void input(const Vec (&d)[kInput], Vec* out, int64_t stride) {
    out[0] = d[0] - d[2];
    out[stride] = d[2] + d[1];
    out[2 * stride] = d[2] - d[1];
    out[3 * stride] = d[3] - d[1];
  }

  static void output(const Vec (&m)[kInput], Vec* out, int64_t stride) {
    out[0] = m[0] + m[1] + m[2];
    out[stride] = m[1] - m[2] + m[3];
  }

  static void output_gradient(const Vec (&g)[2], Vec* out, int64_t stride) {
    out[0] = g[0];
    out[stride] = g[0] + g[1];
    out[2 * stride] = g[0] - g[1];
    out[3 * stride] = g[1];
  }

  static void weight_gradient(const Vec (&u)[kInput], Vec* out, int64_t stride) {
    const Vec even = (u[1] + u[2]) * Vec(0.5f);
    out[0] = u[0] + even;
    out[stride] = (u[1] - u[2]) * Vec(0.5f);
    out[2 * stride] = u[3] + even;
  }
};

template <int64_t kOutput>
void winograd_weight(const float* weight, const FilterOrder& order, int64_t in, float* out, int64_t stride) {
  constexpr int64_t kInput = Line<kOutput>::kInput;
  for (int64_t i = 0; i < in; ++i) {
    float columns[3][3][kPanel];  // column, row
    for (int64_t k = 0; k < 9; ++k) {
      const float* const w = weight + i * order.in + k * order.place;
      if (order.out == 1) {
        std::copy_n(w, kPanel, columns[k % 3][k / 3]);
      } else {
        for (int64_t o = 0; o < kPanel; ++o) columns[k % 3][k / 3][o] = w[o * order.out];
      }
    }
    float lines[kInput][3][kPanel];  // row, column
    for (int64_t j = 0; j < 3; ++j) {
      float column[kInput][kPanel];
      Line<kOutput>::weight(columns[j], column);
      for (int64_t r = 0; r < kInput; ++r) std::copy_n(column[r], kPanel, lines[r][j]);
    }
    for (int64_t r = 0; r < kInput; ++r) {
      float row[kInput][kPanel];
      Line<kOutput>::weight(lines[r], row);
      for (int64_t j = 0; j < kInput; ++j) {
        std::copy_n(row[j], kPanel, out + (r * kInput + j) * stride + i * kPanel);
      }
    }
  }
}

void put(const Vec& value, float* to) { value.store(to); }

#ifdef __AVX512BF16__
void put(const Vec& value, bfloat16_bits* to) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value)));
}
#endif

/// Where channel c of an element stands.
int64_t place_of(int64_t c, const TileOrder& order) { return c / kPanel * order.panel + c % kPanel; }

/// `work` with each number below kCount, as constants. Left to itself the compiler loops over a tile, in memory.
template <int64_t kCount, class Work>
void unrolled(const Work& work) {
  const auto each = [&]<size_t... Index>(std::index_sequence<Index...>) {
    (work(std::integral_constant<int64_t, static_cast<int64_t>(Index)>()), ...);
  };
  each(std::make_index_sequence<kCount>());
}

/// `load(i, j, c)` are kLanes channels from c on of the tile's input in row i and column j.
template <int64_t kOutput, class Number, class Load>
void transform_input(int64_t channels, const Load& load, Number* out, const TileOrder& order) {
  constexpr int64_t kInput = Line<kOutput>::kInput;
  const int64_t stride = order.stride;
  for (int64_t c = 0; c < channels; c += kLanes) {
    Vec columns[kInput][kInput];
    unrolled<kInput>([&](auto j) {
      Vec d[kInput];
      unrolled<kInput>([&](auto i) { d[i] = load(i, j, c); });
      Line<kOutput>::input(d, &columns[0][j], kInput);
    });
    Number* to = out + place_of(c, order);
    unrolled<kInput>([&](auto i) {
      Vec line[kInput];
      Line<kOutput>::input(columns[i], line, 1);
      unrolled<kInput>([&](auto j) {
        put(line[j], to);
        to += stride;
      });
    });
  }
}

template <int64_t kOutput, class Number>
void winograd_input(const float* x, const TilePlace& place, Number* out, const TileOrder& order) {
  constexpr int64_t kInput = Line<kOutput>::kInput;
  const auto [height, width, channels, row, column] = place;
  const int64_t line = width * channels;
  const float* const corner = x + (row - 1) * line + (column - 1) * channels;
  if (row > 0 && column > 0 && row + kInput - 1 <= height && column + kInput - 1 <= width) {
    const auto load = [&, channels = channels](auto i, auto j, int64_t c) {
      const float* const at = corner + i * line + j * channels + c;
      // What the next tile of the row does not share with this one.
      if constexpr (decltype(j)::value >= kInput - kOutput) __builtin_prefetch(at + kOutput * channels);
      return Vec::loadu(at);
    };
    transform_input<kOutput>(channels, load, out, order);
    return;
  }
  const float* from[kInput][kInput];
  for (int64_t i = 0; i < kInput; ++i) {
    for (int64_t j = 0; j < kInput; ++j) {
      const int64_t y = row + i - 1, z = column + j - 1;
      const bool inside = y >= 0 && y < height && z >= 0 && z < width;
      from[i][j] = inside ? corner + i * line + j * channels : nullptr;
    }
  }
  transform_input<kOutput>(
      channels, [&](int64_t i, int64_t j, int64_t c) { return from[i][j] ? Vec::loadu(from[i][j] + c) : Vec(0.0f); },
      out, order);
}

/// Of a tile that has `rows` and `columns` of results.
template <int64_t kOutput, bool Add>
void transform_output(const float* products, const TileOrder& order, const float* bias, const TilePlace& place,
                      int64_t rows, int64_t columns, float least, float* y) {
  constexpr int64_t kInput = Line<kOutput>::kInput;
  const int64_t stride = order.stride, channels = place.channels, line_size = place.width * channels;
  float* const corner = y + place.row * line_size + place.column * channels;
  for (int64_t c = 0; c < channels; c += kLanes) {
    const float* const from = products + place_of(c, order);
    Vec lines[kOutput][kInput];
    unrolled<kInput>([&](auto j) {
      Vec m[kInput];
      unrolled<kInput>([&](auto i) { m[i] = Vec::loadu(from + (i * kInput + j) * stride); });
      Line<kOutput>::output(m, &lines[0][j], kInput);
    });
    const Vec shift = Vec::loadu(bias + c), lowest(least);
    unrolled<kOutput>([&](auto i) {
      if (i >= rows) return;
      Vec line[kOutput];
      Line<kOutput>::output(lines[i], line, 1);
      float* to = corner + i * line_size + c;
      unrolled<kOutput>([&](auto j) {
        if (j >= columns) return;
        Vec value = line[j] + shift;
        if constexpr (Add) {
          value = value + Vec::loadu(to);
          __builtin_prefetch(to + kOutput * channels);
        }
        at::vec::maximum(value, lowest).store(to);
        to += channels;
      });
    });
  }
}

template <int64_t kOutput>
void winograd_output(const float* products, const TileOrder& order, const float* bias, const TilePlace& place, bool add,
                     bool relu, float* y) {
  const int64_t rows = std::min(kOutput, place.height - place.row),
                columns = std::min(kOutput, place.width - place.column);
  const float least = relu ? 0.0f : -std::numeric_limits<float>::infinity();
  const auto with = [&]<bool Add>() {
    // Whole tiles with counts that the compiler knows.
    if (rows == kOutput && columns == kOutput) {
      transform_output<kOutput, Add>(products, order, bias, place, kOutput, kOutput, least, y);
    } else {
      transform_output<kOutput, Add>(products, order, bias, place, rows, columns, least, y);
    }
  };
  add ? with.template operator()<true>() : with.template operator()<false>();
}

template <int64_t kOutput>
void winograd_output_gradient(const float* gradient, const TilePlace& place, float* out, const TileOrder& order) {
  constexpr int64_t kInput = Line<kOutput>::kInput;
  const auto [height, width, channels, row, column] = place;
  const int64_t rows = std::min(kOutput, height - row), columns = std::min(kOutput, width - column);
  for (int64_t c = 0; c < channels; c += kLanes) {
    Vec lines[kInput][kOutput];
    for (int64_t j = 0; j < kOutput; ++j) {
      Vec g[kOutput];
      for (int64_t i = 0; i < kOutput; ++i) {
        const bool inside = i < rows && j < columns;
        g[i] = inside ? Vec::loadu(gradient + ((row + i) * width + column + j) * channels + c) : Vec(0.0f);
      }
      Line<kOutput>::output_gradient(g, &lines[0][j], kOutput);
    }
    float* const to = out + place_of(c, order);
    for (int64_t i = 0; i < kInput; ++i) {
      Vec line[kInput];
      Line<kOutput>::output_gradient(lines[i], line, 1);
      for (int64_t j = 0; j < kInput; ++j) line[j].store(to + (i * kInput + j) * order.stride);
    }
  }
}

template <int64_t kOutput>
void winograd_weight_gradient(const float* products, int64_t stride, int64_t in, float* out) {
  constexpr int64_t kInput = Line<kOutput>::kInput;
  for (int64_t c = 0; c < in; c += kLanes) {
    Vec lines[3][kInput];
    for (int64_t j = 0; j < kInput; ++j) {
      Vec u[kInput];
      for (int64_t i = 0; i < kInput; ++i) u[i] = Vec::loadu(products + (i * kInput + j) * stride + c);
      Line<kOutput>::weight_gradient(u, &lines[0][j], kInput);
    }
    for (int64_t i = 0; i < 3; ++i) {
      Vec line[3];
      Line<kOutput>::weight_gradient(lines[i], line, 1);
      for (int64_t j = 0; j < 3; ++j) line[j].store(out + (i * 3 + j) * in + c);
    }
  }
}

template <int64_t kOutput>
WinogradKernels tile() {
  WinogradKernels kernels{.weight = winograd_weight<kOutput>,
                          .input = winograd_input<kOutput, float>,
                          .output = winograd_output<kOutput>,
                          .output_gradient = winograd_output_gradient<kOutput>,
                          .weight_gradient = winograd_weight_gradient<kOutput>};
#ifdef __AVX512BF16__
  kernels.input_half = winograd_input<kOutput, bfloat16_bits>;
#endif
  return kernels;
}

}  // namespace

void fill_winograd(Kernels& table) {
  table.winograd_2 = tile<2>();
  table.winograd_4 = tile<4>();
}

}  // namespace CPU_CAPABILITY
}  // namespace soundspot::kernels
