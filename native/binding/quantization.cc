// Quantization: calibration with prepared pairs, and quantized convolutions by themselves for tests.
#include "binding/convert.h"
#include "binding/functions.h"
#include "inference/cpu/calibration.h"

namespace soundspot::binding {

namespace {

/// A calibration, and the model that it looks at. Its methods are called with the model's lock held, shared.
struct CalibrationHandle {
  explicit CalibrationHandle(std::shared_ptr<ModelHandle> value)
      : model(std::move(value)), calibration(model->localizer), changes(model->changes()) {}

  /// @throws Error ERR_INPUT when a weight has changed since the calibration was started.
  void check_unchanged() const {
    if (model->changes() == changes) return;
    throw Error("ERR_INPUT",
                "The model's weights changed while it was calibrated. Quantize it again, and neither train it nor set "
                "its parameters before that has ended.");
  }

  std::shared_ptr<ModelHandle> model;
  inference::Calibration calibration;
  const uint64_t changes;  // of the model, at the start
};

// startCalibration(model) → Promise<handle>
Napi::Value start_calibration(const Napi::CallbackInfo& call) {
  const auto model = unwrap<ModelHandle>(call[0]);
  return Job<std::shared_ptr<CalibrationHandle>>::compute(
      call.Env(), {},
      [model] {
        if (!model->localizer->device().is_cpu()) {
          throw Error("ERR_DEVICE", "int8 is computed on the CPU alone. Load the model there (device \"cpu\").");
        }
        const std::shared_lock lock(model->mutex);
        return std::make_shared<CalibrationHandle>(model);
      },
      [](Napi::Env env, std::shared_ptr<CalibrationHandle>& handle) { return wrap(env, handle); });
}

// calibrate(calibration, samples) → Promise<void>
Napi::Value calibrate(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<CalibrationHandle>(call[0]);
  const auto batch = samples(call[1]);
  return Job<bool>::compute(
      call.Env(), {},
      [=] {
        const auto [images, spectrograms] = stack(batch, at::kCPU);
        const std::shared_lock lock(handle->model->mutex);
        handle->check_unchanged();
        handle->calibration.add(images, spectrograms);
        return true;
      },
      [](Napi::Env env, bool&) { return env.Undefined(); });
}

// quantize(calibration) → Promise<handle> of a model of its own; the calibration is then freed
Napi::Value quantize(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<CalibrationHandle>(call[0]);
  release<CalibrationHandle>(call);
  return Job<std::shared_ptr<ModelHandle>>::compute(
      call.Env(), {},
      [handle] {
        const std::shared_lock lock(handle->model->mutex);
        handle->check_unchanged();
        return std::make_shared<ModelHandle>(handle->calibration.quantized());
      },
      [](Napi::Env env, std::shared_ptr<ModelHandle>& model) { return wrap(env, model); });
}

// isQuantized(model) → whether it computes in int8
Napi::Value is_quantized(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<ModelHandle>(call[0]);
  return Napi::Boolean::New(call.Env(), handle->quantized());
}

// quantizedConvolution({ x, weight, bias, sum? }, { step, resultStep, sumStep, stride }) → Promise<tensor>, for tests:
// x and sum hold steps; the result is in steps where there is a resultStep, else real
Napi::Value quantized_convolution(const Napi::CallbackInfo& call) {
  const auto tensors = call[0].As<Napi::Object>(), options = call[1].As<Napi::Object>();
  const auto given = [&](const char* name) { return tensor_from_javascript(tensors.Get(name)).clone(); };
  const Tensor x = given("x"), weight = given("weight"), bias = given("bias"),
               sum = tensors.Has("sum") ? given("sum") : Tensor();
  const auto step = static_cast<float>(number(options, "step")),
             result_step = static_cast<float>(number(options, "resultStep")),
             sum_step = static_cast<float>(number(options, "sumStep"));
  const int64_t stride = integer(options, "stride");
  return Job<Tensor>::compute(
      call.Env(), {},
      [=] {
        const at::NoGradGuard no_grad;
        const auto bytes = [](const Tensor& of) { return of.to(at::kByte).contiguous(at::MemoryFormat::ChannelsLast); };
        using inference::QuantizedConvolution;
        const core::QuantizedWeight steps = core::quantized(weight, inference::weight_levels());
        const int64_t padding = weight.size(2) / 2;
        const Tensor values = QuantizedConvolution::packed(steps.values, step, stride, padding, x.sizes());
        const QuantizedConvolution convolution(values, steps.scales, bias, step, stride, padding);
        const Tensor input = bytes(x);
        if (!sum.defined()) return result_step > 0 ? convolution(input, result_step) : convolution.real(input);
        return result_step > 0 ? convolution.add_to(bytes(sum), sum_step, input, result_step)
                               : convolution.add_to(sum.contiguous(at::MemoryFormat::ChannelsLast), input);
      },
      [](Napi::Env env, Tensor& result) { return tensor_to_javascript(env, result); });
}

// quantizedWeight(weight) → { values, scales, levels } as this processor computes with
Napi::Value quantized_weight(const Napi::CallbackInfo& call) {
  const at::NoGradGuard no_grad;
  const core::QuantizedWeight weight =
      core::quantized(tensor_from_javascript(call[0]).clone(), inference::weight_levels());
  Napi::Object result = Napi::Object::New(call.Env());
  result.Set("values", tensor_to_javascript(call.Env(), weight.values));
  result.Set("scales", tensor_to_javascript(call.Env(), weight.scales));
  result.Set("levels", static_cast<double>(inference::weight_levels()));
  return result;
}

}  // namespace

void register_quantization(Napi::Env env, Napi::Object exports) {
  exports.Set("startCalibration", Napi::Function::New(env, start_calibration, "startCalibration"));
  exports.Set("calibrate", Napi::Function::New(env, calibrate, "calibrate"));
  exports.Set("quantize", Napi::Function::New(env, quantize, "quantize"));
  exports.Set("isQuantized", Napi::Function::New(env, is_quantized, "isQuantized"));
  exports.Set("quantizedConvolution", Napi::Function::New(env, quantized_convolution, "quantizedConvolution"));
  exports.Set("quantizedWeight", Napi::Function::New(env, quantized_weight, "quantizedWeight"));
}

}  // namespace soundspot::binding
