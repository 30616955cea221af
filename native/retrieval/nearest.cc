#include "retrieval/nearest.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace soundspot::retrieval {

namespace {

constexpr int64_t kTile = 4096;  // vectors of the gallery that are compared at once

/// Rows of length 1, in float64: products of equal vectors then agree after rounding to float32.
Tensor directions(const Tensor& vectors) {
  const Tensor rows = vectors.to(at::kDouble);
  const Tensor lengths = rows.norm(2, 1, /*keepdim=*/true);
  return rows / lengths.where(lengths != 0, at::ones_like(lengths));
}

/// By LibTorch's operators, where the vectors are. What is best so far comes first: a stable sort keeps it before its
/// equals.
Tensor nearest_there(const Tensor& rows, const Tensor& gallery, int64_t depth) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  const int64_t count = rows.size(0);
  const auto numbers = rows.options().dtype(at::kLong);
  Tensor scores = at::full({count, depth}, kNone, rows.options().dtype(at::kFloat));
  Tensor indices = at::full({count, depth}, -1, numbers);
  for (int64_t from = 0; from < gallery.size(0); from += kTile) {
    const int64_t to = std::min(from + kTile, gallery.size(0));
    const Tensor cosines = rows.matmul(directions(gallery.slice(0, from, to)).t()).to(at::kFloat);
    const Tensor candidates = at::cat({scores, cosines.masked_fill(cosines.isnan(), kNone)}, 1);
    const Tensor places = at::cat({indices, at::arange(from, to, numbers).expand({count, to - from})}, 1);
    const auto [sorted, order] = at::sort(candidates, /*stable=*/true, 1, /*descending=*/true);
    scores = sorted.narrow(1, 0, depth);
    indices = places.gather(1, order.narrow(1, 0, depth));
  }
  return indices.masked_fill(scores == kNone, -1);
}

/// Puts a candidate behind all that are at least as similar. `scores` and `indices` have `depth` places.
void insert(float score, int64_t index, int64_t depth, float* scores, int64_t* indices) {
  int64_t place = depth;
  while (place > 0 && (indices[place - 1] < 0 || score > scores[place - 1])) --place;
  if (place == depth) return;
  for (int64_t i = depth - 1; i > place; --i) {
    scores[i] = scores[i - 1];
    indices[i] = indices[i - 1];
  }
  scores[place] = score;
  indices[place] = index;
}

}  // namespace

Tensor nearest(const Tensor& queries, const Tensor& gallery, int64_t depth) {
  const at::NoGradGuard no_grad;
  const int64_t count = queries.size(0);
  const Tensor rows = directions(queries);
  if (!rows.is_cpu()) return nearest_there(rows, gallery, depth);
  Tensor indices = at::full({count, depth}, -1, at::kLong);
  Tensor scores = at::zeros({count, depth}, at::kFloat);
  auto* const best_indices = indices.mutable_data_ptr<int64_t>();
  auto* const best_scores = scores.mutable_data_ptr<float>();
  for (int64_t from = 0; from < gallery.size(0); from += kTile) {
    const int64_t to = std::min(from + kTile, gallery.size(0));
    const Tensor cosines = rows.matmul(directions(gallery.slice(0, from, to)).t()).to(at::kFloat).contiguous();
    const float* const data = cosines.const_data_ptr<float>();
    at::parallel_for(0, count, 16, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const float* const row = data + i * (to - from);
        float* const own_scores = best_scores + i * depth;
        int64_t* const own_indices = best_indices + i * depth;
        for (int64_t j = 0; j < to - from; ++j) {
          const bool full = own_indices[depth - 1] >= 0;
          if (std::isnan(row[j]) || (full && row[j] <= own_scores[depth - 1])) continue;
          insert(row[j], from + j, depth, own_scores, own_indices);
        }
      }
    });
  }
  return indices;
}

}  // namespace soundspot::retrieval
