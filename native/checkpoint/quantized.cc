#include "checkpoint/quantized.h"

#include <cmath>
#include <string_view>
#include <unordered_map>

#include "checkpoint/format.h"

namespace soundspot::checkpoint {

namespace {

constexpr std::string_view kWeight = ".weight", kWeightScale = ".weight_scale", kInputScale = ".input_scale";
constexpr const char* kInt8 = "int8";

/// Between them products of a step and the sums of a convolution leave float32 nowhere.
constexpr float kLeastScale = 1e-35F, kMostScale = 1e15F;

std::string without(const std::string& name, std::string_view ending) {
  return name.substr(0, name.size() - ending.size());
}

/// @throws FormatError when they are not float32 of that shape, or one is not a step.
void check_scales(const std::string& name, const Tensor& scales, at::IntArrayRef sizes) {
  if (scales.scalar_type() != at::kFloat || scales.sizes() != sizes) {
    throw FormatError("the tensor " + printable(name) + " is not of the shape and type of a quantization's scales");
  }
  const Tensor dense = scales.contiguous();
  for (int64_t i = 0; i < dense.numel(); ++i) {
    const float scale = dense.const_data_ptr<float>()[i];
    if (!(scale >= kLeastScale && scale <= kMostScale)) {
      throw FormatError("the tensor " + printable(name) + " has a scale that is no step of a quantization");
    }
  }
}

}  // namespace

void put_quantization(State& state, const core::Quantization& quantization) {
  State own;
  for (auto& [name, tensor] : state.tensors) {
    const auto found = name.ends_with(kWeight) ? quantization.find(without(name, kWeight)) : quantization.end();
    if (found == quantization.end()) {
      own.tensors.emplace_back(name, tensor);
      continue;
    }
    const auto& [values, scales, step] = found->second;
    own.tensors.emplace_back(name, values.dense());
    own.tensors.emplace_back(found->first + std::string(kWeightScale), scales);
    own.tensors.emplace_back(found->first + std::string(kInputScale), at::scalar_tensor(step, at::kFloat));
  }
  state.tensors = std::move(own.tensors);
  state.metadata[kQuantizationKey] = kInt8;
}

std::optional<core::Quantization> take_quantization(State& state) {
  const auto key = state.metadata.find(kQuantizationKey);
  if (key == state.metadata.end()) return std::nullopt;
  if (key->second != kInt8) {
    throw FormatError("it is quantized as " + printable(key->second) + ", which is not supported");
  }
  std::unordered_map<std::string, Tensor> weight_scales;
  std::unordered_map<std::string, float> steps;
  std::erase_if(state.tensors, [&](const auto& named) {
    const auto& [name, tensor] = named;
    if (name.ends_with(kInputScale)) {
      check_scales(name, tensor, {});
      steps.emplace(without(name, kInputScale), tensor.template item<float>());
    } else if (name.ends_with(kWeightScale)) {
      weight_scales.emplace(without(name, kWeightScale), tensor);
    } else {
      return false;
    }
    return true;
  });
  core::Quantization quantization;
  for (auto& [name, tensor] : state.tensors) {
    if (tensor.scalar_type() != at::kChar || !name.ends_with(kWeight)) continue;
    const std::string convolution = without(name, kWeight);
    const auto scales = weight_scales.extract(convolution);
    const auto step = steps.extract(convolution);
    if (!scales || !step) throw FormatError("the quantized tensor " + printable(name) + " has no scales");
    check_scales(convolution + std::string(kWeightScale), scales.mapped(), {tensor.size(0)});
    quantization.emplace(convolution, core::HeldConvolution{core::HeldValues(tensor), scales.mapped(), step.mapped()});
    tensor = at::empty(tensor.sizes(), at::device(at::kMeta).dtype(at::kFloat));
  }
  const auto check_used = [](const auto& left) {
    if (left.empty()) return;
    throw FormatError("there are scales of " + printable(left.begin()->first) + ", which has no quantized weight");
  };
  check_used(weight_scales);
  check_used(steps);
  return quantization;
}

}  // namespace soundspot::checkpoint
