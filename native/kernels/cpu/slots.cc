// Slot attention in both directions, and pooling without gradients.
#include <algorithm>

#include "kernels/cpu/tables.h"
#include "kernels/cpu/vectors.h"

namespace soundspot::kernels {
inline namespace CPU_CAPABILITY {

namespace {

constexpr float kLayerNormEpsilon = 1e-5f;
constexpr float kAttentionEpsilon = 1e-8f;

/// Σ of f over the indices of a row, by vectors, then the rest.
template <class Vector, class Scalar>
float sum_over(int64_t count, const Vector& vector, const Scalar& scalar) {
  Vec sums(0.0f);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) sums = sums + vector(i);
  float total = at::vec::vec_reduce_all<float>([](const Vec& a, const Vec& b) { return a + b; }, sums);
  for (; i < count; ++i) total += scalar(i);
  return total;
}

/// Mean and 1 / σ of a row.
std::pair<float, float> moments_of(const float* x, int64_t dim) {
  const float mean = sum_over(
                         dim, [&](int64_t i) { return Vec::loadu(x + i); }, [&](int64_t i) { return x[i]; }) /
                     static_cast<float>(dim);
  const float variance = sum_over(
                             dim,
                             [&](int64_t i) {
                               const Vec apart = Vec::loadu(x + i) - Vec(mean);
                               return apart * apart;
                             },
                             [&](int64_t i) { return (x[i] - mean) * (x[i] - mean); }) /
                         static_cast<float>(dim);
  return {mean, 1.0f / std::sqrt(variance + kLayerNormEpsilon)};
}

void layer_norm(const float* x, const float* weight, const float* bias, int64_t dim, float* out) {
  const auto [mean, scale] = moments_of(x, dim);
  for (int64_t i = 0; i < dim; i += kLanes) {
    const int64_t count = std::min(kLanes, dim - i);
    Vec value = (Vec::loadu(x + i, count) - Vec(mean)) * Vec(scale);
    if (weight) value = at::vec::fmadd(value, Vec::loadu(weight + i, count), Vec::loadu(bias + i, count));
    value.store(out + i, count);
  }
}

float standardize(const float* x, int64_t dim, float* out) {
  const auto [mean, scale] = moments_of(x, dim);
  for (int64_t i = 0; i < dim; i += kLanes) {
    const int64_t count = std::min(kLanes, dim - i);
    ((Vec::loadu(x + i, count) - Vec(mean)) * Vec(scale)).store(out + i, count);
  }
  return scale;
}

void mask(const float* y, int64_t count, float* gradient) {
  for (int64_t i = 0; i < count; ++i) gradient[i] = y[i] > 0 ? gradient[i] : 0;
}

void affine(const float* x, const float* weight, const float* bias, int64_t dim, float* out) {
  for (int64_t i = 0; i < dim; i += kLanes) {
    const int64_t count = std::min(kLanes, dim - i);
    const auto load = [&](const float* from) { return Vec::loadu(from + i, count); };
    at::vec::fmadd(load(x), load(weight), load(bias)).store(out + i, count);
  }
}

void standardize_gradient(const float* gradient, const float* weight, const float* normed, float inverse, int64_t dim,
                          float* out) {
  const auto width = static_cast<float>(dim);
  const auto vector = [&](const float* from, int64_t i) { return Vec::loadu(from + i); };
  const float mean = sum_over(
                         dim, [&](int64_t i) { return vector(gradient, i) * vector(weight, i); },
                         [&](int64_t i) { return gradient[i] * weight[i]; }) /
                     width;
  const float slope = sum_over(
                          dim, [&](int64_t i) { return vector(gradient, i) * vector(weight, i) * vector(normed, i); },
                          [&](int64_t i) { return gradient[i] * weight[i] * normed[i]; }) /
                      width;
  for (int64_t i = 0; i < dim; i += kLanes) {
    const int64_t count = std::min(kLanes, dim - i);
    const auto load = [&](const float* from) { return Vec::loadu(from + i, count); };
    const Vec apart = load(gradient) * load(weight) - Vec(mean) - load(normed) * Vec(slope);
    at::vec::fmadd(apart, Vec(inverse), load(out)).store(out + i, count);
  }
}

/// scale · x_n · queries_s + offset[s] of some tokens and slots. Sums side by side, so that none waits for the last
/// one.
template <int64_t Tokens, int64_t Slots>
void logits_block(const float* queries, int64_t query_stride, const float* x, int64_t tokens, int64_t dim, float scale,
                  const float* offset, float* out) {
  Vec sums[Slots][Tokens];
  for (auto& of_slot : sums) {
    for (Vec& sum : of_slot) sum = Vec(0.0f);
  }
  int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    Vec from[Tokens];
    for (int64_t n = 0; n < Tokens; ++n) {
      from[n] = Vec::loadu(x + n * dim + i);
      __builtin_prefetch(x + (n + Tokens) * dim + i);
    }
    for (int64_t s = 0; s < Slots; ++s) {
      const Vec query = Vec::loadu(queries + s * query_stride + i);
      for (int64_t n = 0; n < Tokens; ++n) sums[s][n] = at::vec::fmadd(query, from[n], sums[s][n]);
    }
  }
  for (int64_t s = 0; s < Slots; ++s) {
    for (int64_t n = 0; n < Tokens; ++n) {
      float product = at::vec::vec_reduce_all<float>([](const Vec& a, const Vec& b) { return a + b; }, sums[s][n]);
      for (int64_t rest = i; rest < dim; ++rest) product += x[n * dim + rest] * queries[s * query_stride + rest];
      out[s * tokens + n] = scale * (product + offset[s]);
    }
  }
}

void logits(const float* queries, int64_t query_stride, const float* x, int64_t slots, int64_t tokens, int64_t dim,
            float scale, const float* offset, float* out) {
  int64_t n = 0;
  const auto of_tokens = [&]<int64_t Tokens>() {
    for (; n + Tokens <= tokens; n += Tokens) {
      int64_t s = 0;
      const auto of_slots = [&]<int64_t Slots>() {
        for (; s + Slots <= slots; s += Slots) {
          logits_block<Tokens, Slots>(queries + s * query_stride, query_stride, x + n * dim, tokens, dim, scale,
                                      offset + s, out + s * tokens + n);
        }
      };
      of_slots.template operator()<2>();
      of_slots.template operator()<1>();
    }
  };
  of_tokens.template operator()<4>();
  of_tokens.template operator()<1>();
}

void attention(const float* logits, int64_t slots, int64_t tokens, float sharpening, float* out, float* shares,
               float* totals) {
  for (int64_t n = 0; n < tokens; ++n) {
    float most = logits[n] * sharpening;
    for (int64_t s = 1; s < slots; ++s) most = std::max(most, logits[s * tokens + n] * sharpening);
    float total = 0;
    for (int64_t s = 0; s < slots; ++s) {
      const float share = std::exp(logits[s * tokens + n] * sharpening - most);
      out[s * tokens + n] = share;
      total += share;
    }
    for (int64_t s = 0; s < slots; ++s) {
      const float share = out[s * tokens + n] / total;
      if (shares) shares[s * tokens + n] = share;
      out[s * tokens + n] = share + kAttentionEpsilon;
    }
  }
  for (int64_t s = 0; s < slots; ++s) {
    float* row = out + s * tokens;
    float total = 0;
    for (int64_t n = 0; n < tokens; ++n) total += row[n];
    if (totals) totals[s] = total;
    for (int64_t n = 0; n < tokens; ++n) row[n] /= total;
  }
}

/// Of some slots: a token's vectors are read once for all of them.
template <int64_t Slots>
void gather_block(const float* attention, const float* x, int64_t tokens, int64_t dim, float* out, int64_t out_stride) {
  int64_t i = 0;
  for (; i + 4 * kLanes <= dim; i += 4 * kLanes) {
    Vec sums[Slots][4];
    for (auto& of_slot : sums) {
      for (Vec& sum : of_slot) sum = Vec(0.0f);
    }
    for (int64_t n = 0; n < tokens; ++n) {
      Vec from[4];
      for (int64_t v = 0; v < 4; ++v) from[v] = Vec::loadu(x + n * dim + i + v * kLanes);
      for (int64_t s = 0; s < Slots; ++s) {
        const Vec factor(attention[s * tokens + n]);
        for (int64_t v = 0; v < 4; ++v) sums[s][v] = at::vec::fmadd(factor, from[v], sums[s][v]);
      }
    }
    for (int64_t s = 0; s < Slots; ++s) {
      for (int64_t v = 0; v < 4; ++v) sums[s][v].store(out + s * out_stride + i + v * kLanes);
    }
  }
  for (; i < dim; ++i) {
    for (int64_t s = 0; s < Slots; ++s) {
      float sum = 0;
      for (int64_t n = 0; n < tokens; ++n) sum += attention[s * tokens + n] * x[n * dim + i];
      out[s * out_stride + i] = sum;
    }
  }
}

void gather(const float* attention, const float* x, int64_t slots, int64_t tokens, int64_t dim, float* out,
            int64_t out_stride) {
  int64_t s = 0;
  for (; s + 2 <= slots; s += 2) {
    gather_block<2>(attention + s * tokens, x, tokens, dim, out + s * out_stride, out_stride);
  }
  if (s < slots) gather_block<1>(attention + s * tokens, x, tokens, dim, out + s * out_stride, out_stride);
}

Vec sigmoid(const Vec& x) { return Vec(1.0f) / (Vec(1.0f) + x.neg().exp()); }

void gru(const float* input_gates, const float* hidden_gates, const float* hidden, int64_t dim, float* out,
         float* kept) {
  for (int64_t i = 0; i < dim; i += kLanes) {
    const int64_t count = std::min(kLanes, dim - i);
    const auto load = [&](const float* from) { return Vec::loadu(from + i, count); };
    const Vec reset = sigmoid(load(input_gates) + load(hidden_gates));
    const Vec update = sigmoid(load(input_gates + dim) + load(hidden_gates + dim));
    const Vec fresh = (load(input_gates + 2 * dim) + reset * load(hidden_gates + 2 * dim)).tanh();
    (fresh + update * (load(hidden) - fresh)).store(out + i, count);
    if (kept) {
      reset.store(kept + i, count);
      update.store(kept + dim + i, count);
      fresh.store(kept + 2 * dim + i, count);
    }
  }
}

void attention_gradient(const float* gradient, const float* attention, const float* shares, const float* totals,
                        int64_t slots, int64_t tokens, float scale, float* out, float* sums) {
  for (int64_t s = 0; s < slots; ++s) {
    // Back through the division by the row's total.
    const int64_t row = s * tokens;
    float common = 0;
    for (int64_t n = 0; n < tokens; ++n) common += gradient[row + n] * attention[row + n];
    for (int64_t n = 0; n < tokens; ++n) out[row + n] = (gradient[row + n] - common) / totals[s];
    sums[s] = 0;
  }
  for (int64_t n = 0; n < tokens; ++n) {
    // Back through the softmax over slots.
    float common = 0;
    for (int64_t s = 0; s < slots; ++s) common += out[s * tokens + n] * shares[s * tokens + n];
    for (int64_t s = 0; s < slots; ++s) {
      const float value = scale * shares[s * tokens + n] * (out[s * tokens + n] - common);
      out[s * tokens + n] = value;
      sums[s] += value;
    }
  }
}

void gru_gradient(const float* gradient, const float* gates, const float* hidden_new, const float* hidden, int64_t dim,
                  float* input_gates, float* hidden_gates, float* out) {
  const Vec one(1.0f);
  for (int64_t i = 0; i < dim; i += kLanes) {
    const int64_t count = std::min(kLanes, dim - i);
    const auto load = [&](const float* from) { return Vec::loadu(from + i, count); };
    const Vec of = load(gradient), reset = load(gates), update = load(gates + dim), fresh = load(gates + 2 * dim);
    const Vec d_update = of * (load(hidden) - fresh) * update * (one - update);
    const Vec d_fresh = of * (one - update) * (one - fresh * fresh);
    const Vec d_reset = d_fresh * load(hidden_new) * reset * (one - reset);
    d_reset.store(input_gates + i, count);
    d_reset.store(hidden_gates + i, count);
    d_update.store(input_gates + dim + i, count);
    d_update.store(hidden_gates + dim + i, count);
    d_fresh.store(input_gates + 2 * dim + i, count);
    (d_fresh * reset).store(hidden_gates + 2 * dim + i, count);
    (of * update).store(out + i, count);
  }
}

/// Of up to kColumns columns. Sums over many rows are made of sums over kSummed, which round less than one long sum.
constexpr int64_t kColumns = 4 * kLanes, kSummed = 128;

void column_sums(const float* x, const float* y, int64_t rows, int64_t stride, int64_t columns, float* sums,
                 float* products) {
  for (int64_t from = 0; from < columns; from += kColumns) {
    const auto width = [&](int64_t v) { return std::clamp<int64_t>(columns - from - v * kLanes, 0, kLanes); };
    Vec total[4], total_products[4];
    for (int64_t v = 0; v < 4; ++v) total[v] = total_products[v] = Vec(0.0f);
    for (int64_t first = 0; first < rows; first += kSummed) {
      Vec part[4], part_products[4];
      for (int64_t v = 0; v < 4; ++v) part[v] = part_products[v] = Vec(0.0f);
      const auto add = [&](const auto& load) {
        for (int64_t r = first; r < std::min(rows, first + kSummed); ++r) {
          for (int64_t v = 0; v < 4; ++v) {
            const int64_t at = r * stride + from + v * kLanes;
            const Vec value = load(x + at, v);
            part[v] = part[v] + value;
            if (y) part_products[v] = at::vec::fmadd(value, load(y + at, v), part_products[v]);
          }
        }
      };
      if (columns - from >= kColumns) {
        add([](const float* at, int64_t) { return Vec::loadu(at); });
      } else {
        add([&](const float* at, int64_t v) { return width(v) > 0 ? Vec::loadu(at, width(v)) : Vec(0.0f); });
      }
      for (int64_t v = 0; v < 4; ++v) {
        total[v] = total[v] + part[v];
        total_products[v] = total_products[v] + part_products[v];
      }
    }
    for (int64_t v = 0; v < 4 && width(v) > 0; ++v) {
      total[v].store(sums + from + v * kLanes, static_cast<int>(width(v)));
      if (y) total_products[v].store(products + from + v * kLanes, static_cast<int>(width(v)));
    }
  }
}

/// The maximum of numbers without sign: bits of bfloat16 order as the numbers do.
template <class Number>
void max_pool(const Number* in, int64_t height, int64_t width, int64_t channels, Number* out, int64_t begin,
              int64_t end) {
  const int64_t out_width = (width + 1) / 2;
  for (int64_t y = begin; y < end; ++y) {
    const int64_t top = std::max<int64_t>(2 * y - 1, 0), bottom = std::min(2 * y + 1, height - 1);
    for (int64_t x = 0; x < out_width; ++x) {
      const int64_t left = std::max<int64_t>(2 * x - 1, 0), right = std::min(2 * x + 1, width - 1);
      Number* to = out + (y * out_width + x) * channels;
      std::copy_n(in + (top * width + left) * channels, channels, to);
      for (int64_t row = top; row <= bottom; ++row) {
        for (int64_t column = left; column <= right; ++column) {
          const Number* from = in + (row * width + column) * channels;
          for (int64_t c = 0; c < channels; ++c) to[c] = from[c] > to[c] ? from[c] : to[c];
        }
      }
    }
  }
}

}  // namespace

void fill_slots(Kernels& table) {
  table.layer_norm = layer_norm;
  table.logits = logits;
  table.attention = attention;
  table.attention_gradient = attention_gradient;
  table.standardize = standardize;
  table.mask = mask;
  table.affine = affine;
  table.standardize_gradient = standardize_gradient;
  table.gather = gather;
  table.gru = gru;
  table.gru_gradient = gru_gradient;
  table.column_sums = column_sums;
  table.max_pool_float = max_pool<float>;
  table.max_pool_bfloat16 = max_pool<bfloat16_bits>;
}

}  // namespace CPU_CAPABILITY
}  // namespace soundspot::kernels
