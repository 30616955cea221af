#include "inference/cpu/convolution.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <string_view>

namespace soundspot::inference {

namespace {

using at::IntArrayRef;
using Scalars = c10::List<std::optional<at::Scalar>>;
using Name = std::optional<std::string_view>;

template <class Signature>
auto oneDnn(const char* name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

constexpr std::array<int64_t, 2> kDilation{1, 1};

}  // namespace

std::vector<int64_t> convolved(IntArrayRef input, int64_t out, int64_t size, int64_t stride, int64_t padding) {
  const auto side = [&](int64_t length) { return (length + 2 * padding - size) / stride + 1; };
  return {input[0], out, side(input[2]), side(input[3])};
}

Convolution::Convolution(const FoldedConvolution& of, int64_t stride, int64_t padding, IntArrayRef input,
                         at::ScalarType type, Filtering filtering)
    : bias_(of.bias.to(type)),
      size_(of.weight.size(2)),
      out_(of.weight.size(0)),
      stride_(stride),
      padding_(padding),
      packed_(at::globalContext().userEnabledMkldnn() && at::hasMKLDNN()) {
  if (filtering == Filtering::kFastest && stride == 1 && padding == 1 && kernels::Winograd::fits(of.weight, type)) {
    winograd_.emplace(of.weight, of.factor, of.bias, type);
    return;
  }
  const Tensor weight = of.scaled();
  if (!packed_) {
    weight_ = weight.to(type).contiguous(at::MemoryFormat::ChannelsLast);
    return;
  }
  static const auto reorder =
      oneDnn<Tensor(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, int64_t, at::OptionalIntArrayRef)>(
          "mkldnn::_reorder_convolution_weight");
  const std::array<int64_t, 2> paddings{padding, padding}, strides{stride, stride};
  weight_ = reorder.call(weight.to(type).contiguous(), paddings, strides, kDilation, 1, input);
}

Tensor Convolution::operator()(const Tensor& input, bool relu) const {
  const Tensor x = input.to(type());
  if (winograd_) {
    const Tensor y = at::empty(output(x.sizes()), x.options(), at::MemoryFormat::ChannelsLast);
    (*winograd_)(x, y, /*add=*/false, relu);
    return y;
  }
  const std::array<int64_t, 2> paddings{padding_, padding_}, strides{stride_, stride_};
  if (!packed_) {
    const Tensor y = at::conv2d(x, weight_, bias_, strides, paddings);
    return relu ? y.relu_() : y;
  }
  static const auto convolve =
      oneDnn<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, IntArrayRef, IntArrayRef, IntArrayRef,
                    int64_t, std::string_view, Scalars, Name)>("mkldnn::_convolution_pointwise");
  return convolve.call(x, weight_, bias_, paddings, strides, kDilation, 1, relu ? "relu" : "none", Scalars(), "");
}

Tensor Convolution::add_to(const Tensor& onto, const Tensor& input) const {
  const Tensor x = input.to(type());
  Tensor sum = onto.to(type());
  if (winograd_) {
    (*winograd_)(x, sum, /*add=*/true, /*relu=*/true);
    return sum;
  }
  if (!packed_) return sum.add_((*this)(x, /*relu=*/false)).relu_();
  const std::array<int64_t, 2> paddings{padding_, padding_}, strides{stride_, stride_};
  static const auto convolve =
      oneDnn<Tensor&(Tensor&, const Tensor&, const Tensor&, const std::optional<Tensor>&, IntArrayRef, IntArrayRef,
                     IntArrayRef, int64_t, std::string_view, std::optional<at::Scalar>, Name, Scalars, Name)>(
          "mkldnn::_convolution_pointwise_", "binary");
  return convolve.call(sum, x, weight_, bias_, paddings, strides, kDilation, 1, "add", at::Scalar(1.0), "relu",
                       Scalars(), "");
}

std::vector<int64_t> Convolution::output(IntArrayRef input) const {
  return convolved(input, out_, size_, stride_, padding_);
}

}  // namespace soundspot::inference
