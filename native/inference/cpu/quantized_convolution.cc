#include "inference/cpu/quantized_convolution.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include "core/error.h"
#include "core/processor.h"
#include "inference/cpu/convolution.h"

namespace soundspot::inference {

namespace {

using c10::IValue;

/// A function of LibTorch that is found by its schema: releases differ in its C++ signature, not in its arguments.
class Operator {
 public:
  Operator(const char* name, const char* overload, size_t arguments)
      : handle_(c10::Dispatcher::singleton().findSchema({name, overload})) {
    if (handle_ && handle_->schema().arguments().size() == arguments && at::globalContext().userEnabledMkldnn()) return;
    throw Error("ERR_DEVICE", std::string("This LibTorch has no int8 convolutions (") + name +
                                  ") for this processor. Use another precision, such as float32.");
  }

  Tensor operator()(std::vector<IValue> arguments) const {
    handle_->callBoxed(arguments);
    return arguments.front().toTensor();
  }

 private:
  const std::optional<c10::OperatorHandle> handle_;
};

c10::List<int64_t> both(int64_t value) { return c10::List<int64_t>({value, value}); }

const c10::List<std::optional<at::Scalar>>& no_scalars() {
  static const c10::List<std::optional<at::Scalar>> none;
  return none;
}

constexpr int64_t kNoZeroPoint = 0, kGroups = 1;

}  // namespace

int64_t weight_levels() {
  return core::processor().multiplies_bytes() ? core::kWeightLevels : core::kNarrowWeightLevels;
}

Tensor QuantizedConvolution::packed(const Tensor& values, float step, int64_t stride, int64_t padding,
                                    at::IntArrayRef input) {
  static const Operator prepack("onednn::qconv_prepack", "", 9);
  const Tensor scales = at::ones({values.size(0)});  // leave the values as they are
  return prepack({values.contiguous(), scales, static_cast<double>(step), kNoZeroPoint, both(stride), both(padding),
                  both(1), kGroups, c10::List<int64_t>(input)});
}

QuantizedConvolution::QuantizedConvolution(const Tensor& values, const Tensor& scales, const Tensor& bias, float step,
                                           int64_t stride, int64_t padding)
    : values_(values),
      scales_(scales),
      zero_points_(at::zeros(scales.sizes(), at::kInt)),
      bias_(bias),
      step_(step),
      stride_(stride),
      padding_(padding) {}

Tensor QuantizedConvolution::operator()(const Tensor& x, float step) const {
  return convolve(x, step, at::kByte, /*relu=*/true);
}

Tensor QuantizedConvolution::real(const Tensor& x) const { return convolve(x, 1.0F, at::kFloat, /*relu=*/false); }

Tensor QuantizedConvolution::add_to(const Tensor& sum, float sum_step, const Tensor& x, float step) const {
  return convolve_onto(sum, sum_step, x, step);
}

Tensor QuantizedConvolution::add_to(const Tensor& sum, const Tensor& x) const {
  return convolve_onto(sum, 1.0F, x, 1.0F);
}

Tensor QuantizedConvolution::convolve(const Tensor& x, float step, at::ScalarType type, bool relu) const {
  static const Operator pointwise("onednn::qconv2d_pointwise", "", 17);
  return pointwise({x, static_cast<double>(step_), kNoZeroPoint, values_, scales_, zero_points_, bias_, both(stride_),
                    both(padding_), both(1), kGroups, static_cast<double>(step), kNoZeroPoint,
                    static_cast<int64_t>(type), relu ? "relu" : "none", no_scalars(), ""});
}

Tensor QuantizedConvolution::convolve_onto(const Tensor& sum, float sum_step, const Tensor& x, float step) const {
  static const Operator binary("onednn::qconv2d_pointwise", "binary", 22);
  return binary({x,
                 static_cast<double>(step_),
                 kNoZeroPoint,
                 values_,
                 scales_,
                 zero_points_,
                 sum,
                 bias_,
                 both(stride_),
                 both(padding_),
                 both(1),
                 kGroups,
                 static_cast<double>(step),
                 kNoZeroPoint,
                 static_cast<int64_t>(sum.scalar_type()),
                 static_cast<double>(sum_step),
                 kNoZeroPoint,
                 "sum",
                 at::Scalar(1.0),
                 "relu",
                 no_scalars(),
                 ""});
}

std::vector<int64_t> QuantizedConvolution::output(at::IntArrayRef input) const {
  return convolved(input, values_.size(0), values_.size(2), stride_, padding_);
}

}  // namespace soundspot::inference
