#include "kernels/factor.h"

#include <algorithm>

#include "core/parts.h"

namespace soundspot::kernels {

namespace {

/// Multiplications of one column that a thread makes at least, some microseconds of all columns of a panel, and numbers
/// that it packs.
constexpr int64_t kGrain = 1 << 15;
constexpr int64_t kPackGrain = 1 << 16;

/// Parts of a product for each core: none then waits long for another. And the fewest rows of one.
constexpr int64_t kUnits = 4;
constexpr int64_t kPart = 48;

}  // namespace

Factor::Factor(const Tensor& matrix, const Tensor& bias, bool bfloat16)
    : plain_(matrix), bias_(bias), bfloat16_(bfloat16) {}

Factor::Factor(const Tensor& matrix, const Tensor& bias, bool bfloat16, int64_t rows) : Factor(matrix, bias, bfloat16) {
  const bool pays = bfloat16
                        ? kernels().multiply_pairs != nullptr
                        : library_for({rows, matrix.size(0), matrix.size(1)}, /*repeated=*/true) == Library::kPanels;
  if (pays) pack(matrix);
  if (plain_.defined() && bfloat16) plain_ = matrix.to(at::kBFloat16);
}

Factor Factor::packed(const Tensor& matrix, const Tensor& bias) {
  Factor factor(matrix, bias, /*bfloat16=*/false);
  factor.pack(matrix);
  return factor;
}

void Factor::pack(const Tensor& matrix) {
  const Kernels& run = kernels();
  const int64_t in = matrix.size(0), out = matrix.size(1), panels = (out + kPanel - 1) / kPanel;
  const bool fits = bfloat16_ ? in % 2 == 0 && out % kPanel == 0 : true;
  if (!fits || (matrix.stride(0) != 1 && matrix.stride(1) != 1)) return;
  plain_ = Tensor();
  packed_ = at::empty({panels * in * kPanel}, matrix.options().dtype(bfloat16_ ? at::kBFloat16 : at::kFloat));
  panels_ = {.bias = bias_.defined() ? bias_.const_data_ptr<float>() : nullptr, .in = in, .panels = panels};
  const float* const from = matrix.const_data_ptr<float>();
  const int64_t rows = matrix.stride(0), columns = matrix.stride(1);
  if (bfloat16_) {
    auto* const to = static_cast<bfloat16_bits*>(packed_.mutable_data_ptr());
    panels_.pairs = to;
    core::in_parts(panels, 1,
                   [&](int64_t begin, int64_t end) { run.pack_pairs(from, rows, columns, in, begin, end, to); });
  } else {
    auto* const to = packed_.mutable_data_ptr<float>();
    panels_.full = to;
    core::in_parts(panels, std::max<int64_t>(1, kPackGrain / std::max<int64_t>(1, in * kPanel)),
                   [&](int64_t begin, int64_t end) { run.pack(from, rows, columns, in, out, begin, end, to); });
  }
}

void Factor::operator()(const Tensor& x, const Tensor& out, bool relu) const {
  if (plain_.defined()) {
    Tensor to = out;
    if (bfloat16_) {
      to.copy_(at::mm(x.to(at::kBFloat16), plain_));
      if (bias_.defined()) to.add_(bias_);
    } else {
      multiply(x, plain_, bias_, to, library_for({x.size(0), x.size(1), out.size(1)}, /*repeated=*/false));
    }
    if (relu) to.relu_();
    return;
  }
  if (bfloat16_) {
    multiply_pairs(x.to(at::kBFloat16), out, relu);
  } else {
    multiply_panels(x, out, relu);
  }
}

void Factor::multiply_pairs(const Tensor& x, const Tensor& out, bool relu) const {
  const int64_t rows = x.size(0), in = panels_.in;
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, rows * in));
  core::in_parts(panels_.panels, grain, [&](int64_t begin, int64_t end) {
    kernels().multiply_pairs(panels_, static_cast<const bfloat16_bits*>(x.const_data_ptr()), in, rows,
                             out.mutable_data_ptr<float>(), out.size(1), begin, end, relu);
  });
}

void Factor::multiply_panels(const Tensor& x, const Tensor& out, bool relu) const {
  const Tensor left = x.stride(1) == 1 || x.stride(0) == 1 ? x : x.contiguous();
  const bool turned = left.stride(1) != 1;
  const LeftFactor factor{
      .data = left.const_data_ptr<float>(), .row = turned ? 1 : left.stride(0), .inner = turned ? left.stride(1) : 1};
  const int64_t rows = x.size(0), width = out.size(1), panels = panels_.panels;
  // Parts of the rows only where there are too few panels for the cores: each part reads its panel again.
  const int64_t parts = std::clamp<int64_t>(kUnits * at::get_num_threads() / panels, 1, (rows + kPart - 1) / kPart);
  const int64_t part = (rows + parts - 1) / parts;
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, part * panels_.in));
  core::in_parts(panels * parts, grain, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t panel = unit / parts, first = unit % parts * part;
      kernels().multiply_rows(panels_, factor, out.mutable_data_ptr<float>(), width, panel,
                              std::min(kPanel, width - panel * kPanel), first, std::min(rows, first + part), relu);
    }
  });
}

}  // namespace soundspot::kernels
