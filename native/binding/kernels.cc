// Kernels and draws by themselves, for bench/ and tests.
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <chrono>

#include "binding/convert.h"
#include "binding/functions.h"
#include "core/autocast.h"
#include "core/draws.h"
#include "core/precision.h"
#include "inference/cpu/encoder.h"
#include "kernels/factor.h"
#include "kernels/winograd.h"
#include "methods/transform.h"
#include "slot_attention/inference_cpu.h"

namespace soundspot::binding {

namespace {

/// Milliseconds of `work`, `times` times, until its device has done it.
Tensor timed(int64_t times, const std::function<void()>& work, at::Device device = at::kCPU) {
  const Tensor measured = at::empty({times}, at::kFloat);
  const auto wait = [&] {
    if (!device.is_cpu()) c10::impl::getDeviceGuardImpl(device.type())->synchronizeDevice(device.index());
  };
  for (int64_t i = 0; i < times; ++i) {
    wait();
    const auto started = std::chrono::steady_clock::now();
    work();
    wait();
    measured[i] = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - started).count();
  }
  return measured;
}

Napi::Value promised(Napi::Env env, std::function<Tensor()> measure) {
  return Job<Tensor>::compute(env, {}, std::move(measure),
                              [](Napi::Env own, Tensor& measured) { return tensor_to_javascript(own, measured); });
}

std::vector<Tensor> outputs(const slot_attention::JointAttention& attention) {
  return {attention.image_slots,    attention.audio_slots,    attention.image_on_image,
          attention.audio_on_image, attention.audio_on_audio, attention.image_on_audio};
}

// timeSlotAttention(handle, { batch, times, fused, backward, bfloat16 }) → Promise<milliseconds[times]> of joint slot
// attention; with `backward` forward and backward of the sum of all outputs
Napi::Value time_slot_attention(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<ModelHandle>(call[0]);
  const auto options = call[1].As<Napi::Object>();
  const int64_t batch = integer(options, "batch"), times = integer(options, "times");
  const bool fused = boolean(options, "fused"), backward = boolean(options, "backward"),
             wanted = boolean(options, "bfloat16");
  return promised(call.Env(), [=] {
    const std::unique_lock lock(handle->mutex);
    const methods::Localizer& localizer = *handle->localizer;
    const at::Device device = localizer.device();
    const bool bfloat16 = wanted && core::multiplies(device, core::Precision::kBFloat16);
    const encoders::ModelConfig& config = localizer.config();
    const auto slots = slot_attention::SlotAttentionConfig::of(config);
    const slot_attention::JointSlotAttention plain(slots);
    std::optional<slot_attention::FrozenSlotAttention> frozen;  // the engine's, on the CPU
    if (device.is_cpu()) frozen.emplace(localizer.parameters(), slots, bfloat16);
    const int64_t side = config.image_tokens_per_side();
    const Tensor image = at::randn({batch, side * side, config.dim}, device).set_requires_grad(backward),
                 audio = at::randn({batch, config.audio_tokens(), config.dim}, device).set_requires_grad(backward);
    const core::Compute compute{
        .device = device, .precision = bfloat16 && !fused ? core::Precision::kBFloat16 : core::Precision::kFloat32};
    const auto without_gradients = [&] {
      for (const core::Parameter& parameter : localizer.parameters().all()) {
        parameter.value.mutable_grad() = Tensor();
      }
    };
    const Tensor measured = timed(
        times,
        [&] {
          without_gradients();
          if (!backward) {
            const at::NoGradGuard no_grad;
            const core::Autocast autocast(compute);
            if (fused && frozen) {
              frozen->forward(image, audio, 1.0);
            } else if (fused) {
              plain.fused(localizer.parameters(), image, audio, /*keys=*/false, bfloat16);
            } else {
              plain.forward(localizer.parameters(), image, audio, 1.0);
            }
            return;
          }
          Tensor total = at::zeros({}, device);
          {
            const core::Autocast autocast(compute);
            for (const Tensor& output :
                 outputs(fused ? plain.fused(localizer.parameters(), image, audio, false, bfloat16)
                               : plain.forward(localizer.parameters(), image, audio, 1.0))) {
              total = total + output.to(at::kFloat).sum();
            }
          }
          torch::autograd::backward({total}, {});
        },
        device);
    without_gradients();
    return measured;
  });
}

// timeEncoders(handle, { batch, times, winograd, bfloat16 }) → Promise<milliseconds[times]> of both encoders, frozen;
// without `winograd` every convolution is a direct one
Napi::Value time_encoders(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<ModelHandle>(call[0]);
  const auto options = call[1].As<Napi::Object>();
  const int64_t batch = integer(options, "batch"), times = integer(options, "times");
  const auto filtering = boolean(options, "winograd") ? inference::Filtering::kFastest : inference::Filtering::kDirect;
  const at::ScalarType type = in_bfloat16(options) ? at::kBFloat16 : at::kFloat;
  return promised(call.Env(), [=] {
    const std::shared_lock lock(handle->mutex);
    const at::NoGradGuard no_grad;
    const methods::Localizer& localizer = *handle->localizer;
    const encoders::ModelConfig& config = localizer.config();
    const std::vector<int64_t> image_sizes{1, 3, config.image_size, config.image_size},
        audio_sizes{1, 1, config.frequency_bins(), config.frames()};
    const core::Parameters parameters = localizer.whole_parameters();
    const inference::FrozenEncoder image(parameters, localizer.inference_encoders().image.layout(), image_sizes, type,
                                         filtering),
        audio(parameters, localizer.inference_encoders().audio.layout(), audio_sizes, type, filtering);
    const auto drawn = [&](std::vector<int64_t> sizes) {
      sizes[0] = batch;
      return at::randn(sizes);
    };
    const Tensor images = drawn(image_sizes), spectrograms = drawn(audio_sizes);
    return timed(times, [&] {
      image.forward(images);
      audio.forward(spectrograms);
    });
  });
}

/// One pass of a 3 × 3 convolution with stride and padding 1: by tiles of `side`, or a direct one where it is 0.
/// `pass` is "forward", or the gradient of "input" or "weight".
Tensor convolution_pass(const std::string& pass, int64_t side, const Tensor& x, const Tensor& weight,
                        const Tensor& gradient) {
  const kernels::Filter filter = kernels::Filter::of(weight);
  if (pass == "forward") return side > 0 ? kernels::winograd(side, x, filter) : at::conv2d(x, weight, {}, 1, 1);
  if (side > 0) {
    return pass == "input" ? kernels::winograd(side, gradient, filter.turned())
                           : kernels::winograd_weight_gradient(side, x, gradient);
  }
  const bool of_input = pass == "input";
  auto [dx, dweight, dbias] =
      at::convolution_backward(gradient, x, weight, std::nullopt, {1, 1}, {1, 1}, {1, 1}, /*transposed=*/false, {0, 0},
                               /*groups=*/1, {of_input, !of_input, false});
  return of_input ? dx : dweight;
}

// convolution({ x, weight, gradient }, { pass, side }) → Promise<tensor>, for tests
Napi::Value convolution(const Napi::CallbackInfo& call) {
  const auto tensors = call[0].As<Napi::Object>(), options = call[1].As<Napi::Object>();
  const auto given = [&](const char* name) {
    return tensor_from_javascript(tensors.Get(name)).contiguous(at::MemoryFormat::ChannelsLast).clone();
  };
  const Tensor x = given("x"), weight = given("weight"), gradient = given("gradient");
  const std::string pass = text(options, "pass");
  const int64_t side = integer(options, "side");
  return promised(call.Env(), [=] {
    const at::NoGradGuard no_grad;
    return convolution_pass(pass, side, x, weight, gradient).contiguous();
  });
}

// timeConvolution({ batch, in, out, height, width, pass, side, times }) → Promise<milliseconds[times]>
Napi::Value time_convolution(const Napi::CallbackInfo& call) {
  const auto options = call[0].As<Napi::Object>();
  const int64_t batch = integer(options, "batch"), in = integer(options, "in"), out = integer(options, "out"),
                height = integer(options, "height"), width = integer(options, "width"),
                times = integer(options, "times"), side = integer(options, "side");
  const std::string pass = text(options, "pass");
  return promised(call.Env(), [=] {
    const at::NoGradGuard no_grad;
    const auto drawn = [](at::IntArrayRef sizes) {
      return at::randn(sizes).contiguous(at::MemoryFormat::ChannelsLast);
    };
    const Tensor x = drawn({batch, in, height, width}), gradient = drawn({batch, out, height, width}),
                 weight = drawn({out, in, 3, 3});
    return timed(times, [&] { convolution_pass(pass, side, x, weight, gradient); });
  });
}

// timeProducts({ rows, inner, columns, transposed: "none" | "left" | "right", library, times, bfloat16 }) →
// Promise<milliseconds[times]> of [rows, inner] · [inner, columns], with a factor that lies transposed in memory.
// "pack" times the packing of the right factor alone, "packed" a product with one that was packed before. In bfloat16
// the library is LibTorch.
Napi::Value time_products(const Napi::CallbackInfo& call) {
  const auto options = call[0].As<Napi::Object>();
  const int64_t rows = integer(options, "rows"), inner = integer(options, "inner"),
                columns = integer(options, "columns"), times = integer(options, "times");
  const std::string transposed = text(options, "transposed"), name = text(options, "library");
  const at::ScalarType type = in_bfloat16(options) ? at::kBFloat16 : at::kFloat;
  return promised(call.Env(), [=] {
    const at::NoGradGuard no_grad;
    const auto matrix = [&](int64_t height, int64_t width, bool turned) {
      return turned ? at::randn({width, height}).to(type).t() : at::randn({height, width}).to(type);
    };
    const Tensor left = matrix(rows, inner, transposed == "left"),
                 right = matrix(inner, columns, transposed == "right"),
                 product = at::empty({rows, columns}, left.options());
    if (type == at::kBFloat16) {
      return timed(times, [&] { at::mm_out(const_cast<Tensor&>(product), left, right); });
    }
    const auto packed = [&] { return kernels::Factor::packed(right, {}); };
    if (name == "pack") return timed(times, [&] { packed(); });
    if (name == "packed") {
      const kernels::Factor factor = packed();
      return timed(times, [&] { factor(left, product); });
    }
    const kernels::Library library = kernels::library_named(name);
    return timed(times, [&] { kernels::multiply(left, right, {}, product, library); });
  });
}

// libraryFor({ rows, inner, columns, repeated }) → the name of the library that the table takes
Napi::Value library_for(const Napi::CallbackInfo& call) {
  const auto options = call[0].As<Napi::Object>();
  const kernels::ProductShape shape{integer(options, "rows"), integer(options, "inner"), integer(options, "columns")};
  return Napi::String::New(call.Env(), kernels::name_of(kernels::library_for(shape, boolean(options, "repeated"))));
}

// multiply(a, b, { library, transposed }) → Promise<product>, of two matrices, for tests that compare the libraries;
// the one that is named "left" or "right" is given transposed
Napi::Value multiply(const Napi::CallbackInfo& call) {
  const Tensor a = tensor_from_javascript(call[0]).clone(), b = tensor_from_javascript(call[1]).clone();
  const auto options = call[2].As<Napi::Object>();
  const std::string name = text(options, "library"), transposed = text(options, "transposed");
  return promised(call.Env(), [=] {
    const at::NoGradGuard no_grad;
    const Tensor left = transposed == "left" ? a.t() : a, right = transposed == "right" ? b.t() : b;
    const Tensor out = at::empty({left.size(0), right.size(1)}, a.options());
    kernels::multiply(left, right, {}, out, kernels::library_named(name));
    return out;
  });
}

// draws({ seed, step, place, first, count, each }) → Promise<[count, each]>, uniform in [0, 1)
Napi::Value draws(const Napi::CallbackInfo& call) {
  const auto options = call[0].As<Napi::Object>();
  const core::Draws own(static_cast<uint64_t>(integer(options, "seed")),
                        static_cast<uint64_t>(integer(options, "step")));
  const auto place = static_cast<core::Place>(integer(options, "place"));
  const core::Share share{.first = integer(options, "first")};
  const int64_t count = integer(options, "count"), each = integer(options, "each");
  return promised(call.Env(), [=] { return own.uniform(place, share, count, each, at::kCPU); });
}

// transform({ data, shape: [B, C, h, w] }, { angles[B], scale, flip, frame, side }) → Promise<tensor [B, C, side,
// side]>, of a batch in the training of SSL-TIE
Napi::Value transform(const Napi::CallbackInfo& call) {
  const auto input = tensor_from_javascript(call[0]);
  const auto options = call[1].As<Napi::Object>();
  const auto degrees = options.Get("angles").As<Napi::Array>();
  std::vector<float> angles;
  for (uint32_t i = 0; i < degrees.Length(); ++i) angles.push_back(degrees.Get(i).As<Napi::Number>().FloatValue());
  const methods::Transform how{
      .angles = at::tensor(angles), .scale = number(options, "scale"), .flip = boolean(options, "flip")};
  const int64_t frame = integer(options, "frame"), side = integer(options, "side");
  return Job<Tensor>::compute(
      call.Env(), {call[0].As<Napi::Object>()},
      [=] {
        const at::NoGradGuard no_grad;
        return methods::transformed(input, how, frame, side).contiguous();
      },
      [](Napi::Env env, Tensor& result) { return tensor_to_javascript(env, result); });
}

}  // namespace

void register_kernels(Napi::Env env, Napi::Object exports) {
  exports.Set("timeSlotAttention", Napi::Function::New(env, time_slot_attention, "timeSlotAttention"));
  exports.Set("transform", Napi::Function::New(env, transform, "transform"));
  exports.Set("timeEncoders", Napi::Function::New(env, time_encoders, "timeEncoders"));
  exports.Set("convolution", Napi::Function::New(env, convolution, "convolution"));
  exports.Set("timeConvolution", Napi::Function::New(env, time_convolution, "timeConvolution"));
  exports.Set("timeProducts", Napi::Function::New(env, time_products, "timeProducts"));
  exports.Set("draws", Napi::Function::New(env, draws, "draws"));
  exports.Set("libraryFor", Napi::Function::New(env, library_for, "libraryFor"));
  exports.Set("multiply", Napi::Function::New(env, multiply, "multiply"));
}

}  // namespace soundspot::binding
