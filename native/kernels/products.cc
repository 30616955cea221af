#include "kernels/products.h"

namespace soundspot::kernels {

namespace {

/// Results that one thread computes at least.
constexpr int64_t kGrain = 1 << 18;

/// Rows of a product for which packing a float32 weight pays, measured in steps of slot attention.
constexpr int64_t kFewestRows = 16, kMostRows = 96;

}  // namespace

Factor::Factor(const Tensor& matrix, const Tensor& bias, bool bfloat16, int64_t rows)
    : bias_(bias), bfloat16_(bfloat16) {
  const Kernels& run = kernels();
  const int64_t in = matrix.size(0), out = matrix.size(1);
  const bool fits = in % 2 == 0 && out % kPanel == 0 && (matrix.stride(0) == 1 || matrix.stride(1) == 1);
  const bool pays = bfloat16 ? run.multiply_pairs != nullptr : rows >= kFewestRows && rows <= kMostRows;
  if (!fits || !pays) {
    plain_ = bfloat16 ? matrix.to(at::kBFloat16) : matrix;
    return;
  }
  packed_ = at::empty({in * out}, matrix.options().dtype(bfloat16 ? at::kBFloat16 : at::kFloat));
  panels_ = {.bias = bias.defined() ? bias.const_data_ptr<float>() : nullptr, .in = in, .panels = out / kPanel};
  const auto pack = [&](auto* to, const auto& kernel) {
    at::parallel_for(0, panels_.panels, 1, [&](int64_t begin, int64_t end) {
      kernel(matrix.const_data_ptr<float>(), matrix.stride(0), matrix.stride(1), in, begin, end, to);
    });
  };
  if (bfloat16) {
    auto* to = static_cast<bfloat16_bits*>(packed_.mutable_data_ptr());
    panels_.pairs = to;
    pack(to, run.pack_pairs);
  } else {
    auto* to = packed_.mutable_data_ptr<float>();
    panels_.full = to;
    pack(to, run.pack);
  }
}

void Factor::operator()(const Tensor& x, const Tensor& out, bool relu) const {
  if (plain_.defined()) {
    Tensor to = out;
    if (bfloat16_) {
      to.copy_(at::mm(x.to(at::kBFloat16), plain_));
      if (bias_.defined()) to.add_(bias_);
    } else if (bias_.defined()) {
      at::addmm_out(to, bias_, x, plain_);
    } else {
      at::mm_out(to, x, plain_);
    }
    if (relu) to.relu_();
    return;
  }
  const Kernels& run = kernels();
  const int64_t rows = x.size(0), in = panels_.in, width = out.size(1);
  const Tensor factors = bfloat16_ ? x.to(at::kBFloat16) : x;
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, rows * in));
  at::parallel_for(0, panels_.panels, grain, [&](int64_t begin, int64_t end) {
    float* const to = out.mutable_data_ptr<float>();
    if (bfloat16_) {
      run.multiply_pairs(panels_, static_cast<const bfloat16_bits*>(factors.const_data_ptr()), in, rows, to, width,
                         begin, end, relu);
    } else {
      run.multiply(panels_, factors.const_data_ptr<float>(), in, rows, to, width, begin, end, relu);
    }
  });
}

Tensor transposed_product(const Tensor& a, const Tensor& b, bool bfloat16) {
  return bfloat16 ? at::mm(a.to(at::kBFloat16).t(), b.to(at::kBFloat16)).to(at::kFloat) : at::mm(a.t(), b);
}

}  // namespace soundspot::kernels
