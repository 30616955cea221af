#include "kernels/products.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "core/error.h"
#include "core/processor.h"
#include "kernels/factor.h"

namespace soundspot::kernels {

namespace {

using core::InstructionSet;
using core::Vendor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Numbers of a weight that one thread reads at least.
constexpr int64_t kStreamGrain = 1 << 16;

/// Classes of shapes. Few rows wait for the right factor to be read; tiny products for their call; the more rows there
/// are, the better packing the right factor pays.
enum class ShapeClass : uint8_t { kFewRows, kTiny, kSomeRows, kNarrow, kMedium, kLarge, kCount };

constexpr int64_t kTinyMultiplications = 1 << 21;
constexpr int64_t kSomeRows = 15, kNarrowRows = 47, kMediumRows = 96;

ShapeClass class_of(const ProductShape& shape, bool repeated) {
  if (shape.rows <= kStreamedRows) return ShapeClass::kFewRows;
  // Packed also where it is small: a row's result then does not depend on how many rows a process has.
  const bool packs = repeated && shape.rows > kSomeRows && shape.rows <= kMediumRows;
  if (!packs && shape.rows * shape.inner * shape.columns < kTinyMultiplications) return ShapeClass::kTiny;
  if (shape.rows <= kSomeRows) return ShapeClass::kSomeRows;
  if (shape.rows <= kNarrowRows) return ShapeClass::kNarrow;
  return shape.rows <= kMediumRows ? ShapeClass::kMedium : ShapeClass::kLarge;
}

/// Libraries by class of shape.
struct Choices {
  using Column = std::array<Library, static_cast<size_t>(ShapeClass::kCount)>;
  Column single;    // products whose right factor serves once
  Column repeated;  // those whose right factor serves several
};

constexpr Library kMkl = Library::kLibTorch, kOneDnn = Library::kOneDnn, kPanels = Library::kPanels,
                  kStream = Library::kStream;

/// Intel's processors, and all that were not measured.
///                                 few      tiny  some     narrow   medium   large
constexpr Choices kIntel{.single = {kMkl, kMkl, kMkl, kMkl, kMkl, kMkl},
                         .repeated = {kMkl, kMkl, kMkl, kPanels, kPanels, kMkl}};

/// AMD's with AVX2 or more. MKL stays at AVX2 there, even with AVX-512.
///                               few      tiny  some     narrow   medium   large
constexpr Choices kAmd{.single = {kStream, kMkl, kOneDnn, kOneDnn, kPanels, kPanels},
                       .repeated = {kStream, kMkl, kPanels, kPanels, kPanels, kPanels}};

const Choices& choices() {
  static const Choices& chosen = []() -> const Choices& {
    const core::Processor& processor = core::processor();
    const bool amd = processor.vendor() == Vendor::kAmd && processor.instruction_set() != InstructionSet::kDefault;
    return amd && at::hasMKLDNN() ? kAmd : kIntel;
  }();
  return chosen;
}

/// oneDNN's inner product: input [m, k], weight [n, k].
Tensor by_onednn(const Tensor& a, const Tensor& b, const Tensor& bias) {
  using Name = std::optional<std::string_view>;
  using Scalars = c10::List<std::optional<at::Scalar>>;
  const at::AutoDispatchBelowADInplaceOrView without_gradients;
  static const auto run =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
          .typed<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::string_view, Scalars, Name)>();
  return run.call(a, b.t(), bias.defined() ? std::optional(bias) : std::nullopt, "none", Scalars(), "");
}

void by_stream(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& out) {
  const Tensor rows = x.contiguous();
  const int64_t in = weight.size(0), columns = weight.size(1);
  const int64_t grain = std::max<int64_t>(kPanel, kStreamGrain / std::max<int64_t>(1, in));
  at::parallel_for(0, columns, grain, [&](int64_t begin, int64_t end) {
    for (int64_t first = 0; first < rows.size(0); first += kStreamedRows) {
      kernels().stream(weight.const_data_ptr<float>(), weight.stride(0), weight.stride(1), in,
                       bias.defined() ? bias.const_data_ptr<float>() : nullptr,
                       rows.const_data_ptr<float>() + first * in, in, std::min(kStreamedRows, rows.size(0) - first),
                       out.mutable_data_ptr<float>() + first * columns, columns, begin, end);
    }
  });
}

ProductShape shape_of(const Tensor& a, const Tensor& b) { return {a.size(0), a.size(1), b.size(1)}; }

/// Whether the table speaks of such tensors.
bool listed(const Tensor& a, const Tensor& b) {
  return a.device().is_cpu() && b.device().is_cpu() && a.scalar_type() == at::kFloat && b.scalar_type() == at::kFloat;
}

/// Whether the elements of a matrix lie row by row or column by column.
bool dense(const Tensor& matrix) {
  return (matrix.stride(1) == 1 && matrix.stride(0) >= matrix.size(1)) ||
         (matrix.stride(0) == 1 && matrix.stride(1) >= matrix.size(0));
}

class LinearFunction : public torch::autograd::Function<LinearFunction> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight,
                        const std::optional<Tensor>& bias) {
    context->save_for_backward({x, weight});
    context->saved_data["bias"] = bias.has_value();
    std::vector<int64_t> sizes = x.sizes().vec();
    sizes.back() = weight.size(0);
    return at::_unsafe_view(product(x.reshape({-1, x.size(-1)}), weight.t(), bias.value_or(Tensor())), sizes);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1];
    const Tensor of_rows = gradients[0].reshape({-1, gradients[0].size(-1)}).contiguous();
    const bool with_bias = context->saved_data["bias"].toBool();
    return {context->needs_input_grad(0) ? product(of_rows, weight).view(x.sizes()) : Tensor(),
            context->needs_input_grad(1) ? transposed_product(of_rows, x.reshape({-1, x.size(-1)}), false) : Tensor(),
            with_bias && context->needs_input_grad(2) ? of_rows.sum(0) : Tensor()};
  }
};

}  // namespace

const char* name_of(Library library) {
  constexpr std::array names{"libtorch", "onednn", "panels", "stream"};
  return names[static_cast<size_t>(library)];
}

Library library_named(const std::string& name) {
  for (const Library each : {Library::kLibTorch, Library::kOneDnn, Library::kPanels, Library::kStream}) {
    if (name == name_of(each)) return each;
  }
  throw Error("ERR_INPUT", "There is no library \"" + name + "\". Give libtorch, onednn, panels or stream.");
}

Library library_for(const ProductShape& shape, bool repeated) {
  const auto index = static_cast<size_t>(class_of(shape, repeated));
  return repeated ? choices().repeated[index] : choices().single[index];
}

void multiply(const Tensor& a, const Tensor& b, const Tensor& bias, const Tensor& out, Library library) {
  Tensor to = out;
  switch (library) {
    case Library::kPanels:
      Factor::packed(dense(b) ? b : b.contiguous(), bias)(a, to);
      return;
    case Library::kOneDnn:
      to.copy_(by_onednn(a, b, bias));
      return;
    case Library::kStream:
      by_stream(a, dense(b) ? b : b.contiguous(), bias, to);
      return;
    default:
      if (bias.defined()) {
        at::addmm_out(to, bias, a, b);
      } else {
        at::mm_out(to, a, b);
      }
  }
}

Tensor product(const Tensor& a, const Tensor& b, const Tensor& bias) {
  const Library library = listed(a, b) ? library_for(shape_of(a, b), /*repeated=*/false) : Library::kLibTorch;
  if (library == Library::kOneDnn) return by_onednn(a, b, bias);
  if (library == Library::kLibTorch) return bias.defined() ? at::addmm(bias, a, b) : at::mm(a, b);
  const Tensor out = at::empty({a.size(0), b.size(1)}, a.options());
  multiply(a, b, bias, out, library);
  return out;
}

Tensor transposed_product(const Tensor& a, const Tensor& b, bool bfloat16) {
  if (bfloat16) return at::mm(a.to(at::kBFloat16).t(), b.to(at::kBFloat16)).to(at::kFloat);
  return product(a.t(), b);
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const bool plain = at::autocast::is_autocast_enabled(at::kCPU) || !listed(x, weight) || x.numel() == 0;
  if (plain) return at::linear(x, weight, bias);
  return LinearFunction::apply(x, weight, bias.defined() ? std::optional(bias) : std::nullopt);
}

Tensor matmul(const Tensor& a, const Tensor& b) {
  if (b.dim() != 2) return at::matmul(a, b);
  return kernels::linear(a, b.t(), {});
}

}  // namespace soundspot::kernels
