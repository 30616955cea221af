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

void logits(const float* queries, int64_t query_stride, const float* x, int64_t slots, int64_t tokens, int64_t dim,
            float scale, const float* offset, float* out) {
  for (int64_t n = 0; n < tokens; ++n) {
    const float* token = x + n * dim;
    for (int64_t s = 0; s < slots; ++s) {
      const float* query = queries + s * query_stride;
      const float product = sum_over(
          dim, [&](int64_t i) { return Vec::loadu(token + i) * Vec::loadu(query + i); },
          [&](int64_t i) { return token[i] * query[i]; });
      out[s * tokens + n] = scale * (product + offset[s]);
    }
  }
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

void gather(const float* attention, const float* x, int64_t slots, int64_t tokens, int64_t dim, float* out,
            int64_t out_stride) {
  for (int64_t s = 0; s < slots; ++s) {
    const float* share = attention + s * tokens;
    float* to = out + s * out_stride;
    int64_t i = 0;
    for (; i + 4 * kLanes <= dim; i += 4 * kLanes) {
      Vec sums[4] = {Vec(0.0f), Vec(0.0f), Vec(0.0f), Vec(0.0f)};
      for (int64_t n = 0; n < tokens; ++n) {
        const Vec factor(share[n]);
        const float* from = x + n * dim + i;
        for (int64_t v = 0; v < 4; ++v) sums[v] = at::vec::fmadd(factor, Vec::loadu(from + v * kLanes), sums[v]);
      }
      for (int64_t v = 0; v < 4; ++v) sums[v].store(to + i + v * kLanes);
    }
    for (; i < dim; ++i) {
      float sum = 0;
      for (int64_t n = 0; n < tokens; ++n) sum += share[n] * x[n * dim + i];
      to[i] = sum;
    }
  }
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
  table.max_pool_float = max_pool<float>;
  table.max_pool_bfloat16 = max_pool<bfloat16_bits>;
}

}  // namespace CPU_CAPABILITY
}  // namespace soundspot::kernels
