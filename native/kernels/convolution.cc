#include "kernels/convolution.h"

#include <ATen/autocast_mode.h>

#include "kernels/rows.h"
#include "kernels/winograd.h"

namespace soundspot::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class ConvolutionFunction : public torch::autograd::Function<ConvolutionFunction> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& input, const Tensor& weight) {
    const Tensor x = channels_last(input);
    context->save_for_backward({x, weight});
    return winograd(winograd_side(x), x, Filter::of(weight));
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], gradient = channels_last(gradients[0]);
    const int64_t side = winograd_side(x);
    Tensor dx, dweight;
    if (context->needs_input_grad(0)) dx = winograd(side, gradient, Filter::of(weight).turned());
    if (context->needs_input_grad(1)) dweight = winograd_weight_gradient(side, x, gradient);
    return {dx, dweight};
  }
};

}  // namespace

bool convolution_fits(const Tensor& x, const Tensor& weight) {
  const auto listed = [](const Tensor& tensor) { return tensor.is_cpu() && tensor.scalar_type() == at::kFloat; };
  return listed(x) && listed(weight) && !at::autocast::is_autocast_enabled(at::kCPU) && x.numel() > 0 &&
         Winograd::fits(weight, at::kFloat) && Filter::reads(weight);
}

Tensor convolution(const Tensor& x, const Tensor& weight) { return ConvolutionFunction::apply(x, weight); }

}  // namespace soundspot::kernels
