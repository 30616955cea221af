#include "slot_attention/sums.h"

#include <algorithm>

#include "kernels/cpu/kernels.h"
#include "kernels/rows.h"

namespace soundspot::slot_attention {

namespace {

using kernels::at_row;
using kernels::Kernels;
using kernels::kernels;
using kernels::kPanel;

constexpr int64_t kColumns = 64;  // that one thread sums at least

}  // namespace

Tensor weighted_sums(const Tensor& coefficients, const Tensor& vectors) {
  const Kernels& run = kernels();
  const int64_t batch = coefficients.size(0), inner = coefficients.size(1), tokens = coefficients.size(2),
                dim = vectors.size(2), panels = (dim + kPanel - 1) / kPanel;
  const Tensor out = at::empty({batch, tokens, dim}, vectors.options());
  at::parallel_for(0, batch, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> packed(static_cast<size_t>(panels * inner * kPanel));
    const kernels::Panels factor{.full = packed.data(), .in = inner, .panels = panels};
    for (int64_t sample = begin; sample < end; ++sample) {
      run.pack(at_row(vectors, sample * inner), dim, 1, inner, dim, 0, panels, packed.data());
      const kernels::LeftFactor left{.data = at_row(coefficients, sample * inner), .row = 1, .inner = tokens};
      for (int64_t panel = 0; panel < panels; ++panel) {
        run.multiply_rows(factor, left, at_row(out, sample * tokens), dim, panel,
                          std::min(kPanel, dim - panel * kPanel), 0, tokens, /*relu=*/false);
      }
    }
  });
  return out;
}

Tensor ColumnSums::of(const Tensor& x) {
  jobs_.push_back({.x = x, .sums = at::empty({x.size(1)}, x.options())});
  return jobs_.back().sums;
}

std::pair<Tensor, Tensor> ColumnSums::of(const Tensor& x, const Tensor& y) {
  const auto row = [&] { return at::empty({x.size(1)}, x.options()); };
  jobs_.push_back({.x = x, .y = y, .sums = row(), .products = row()});
  return {jobs_.back().products, jobs_.back().sums};
}

void ColumnSums::compute() const {
  std::vector<std::pair<const Job*, int64_t>> parts;  // and the first column of each
  for (const Job& job : jobs_) {
    for (int64_t column = 0; column < job.x.size(1); column += kColumns) parts.emplace_back(&job, column);
  }
  kernels::over(static_cast<int64_t>(parts.size()), [&](int64_t i) {
    const auto& [job, column] = parts[static_cast<size_t>(i)];
    const int64_t width = job->x.size(1);
    const bool weighted = job->y.defined();
    kernels().column_sums(job->x.const_data_ptr<float>() + column,
                          weighted ? job->y.const_data_ptr<float>() + column : nullptr, job->x.size(0), width,
                          std::min(kColumns, width - column), job->sums.mutable_data_ptr<float>() + column,
                          weighted ? job->products.mutable_data_ptr<float>() + column : nullptr);
  });
}

}  // namespace soundspot::slot_attention
