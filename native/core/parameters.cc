#include "core/parameters.h"

#include <cmath>
#include <limits>
#include <sstream>

#include "core/error.h"
#include "core/finite.h"

namespace soundspot::core {

void Parameters::add(const std::string& name, Tensor value, bool trainable) {
  // Convolution weights live in channels-last order, as the convolutions read them.
  if (value.dim() == 4) value = value.contiguous(at::MemoryFormat::ChannelsLast);
  value.set_requires_grad(trainable);
  index_.emplace(name, all_.size());
  all_.push_back({name, std::move(value), trainable});
}

void Parameters::add_unused(const std::string& name, Tensor value) {
  add(name, std::move(value), /*trainable=*/false);
  all_.back().unused = true;
}

void Parameters::exclude_from_training(const std::string& name) {
  static_cast<void>((*this)[name]);  // throws where there is none
  Parameter& parameter = all_[index_.at(name)];
  parameter.value.set_requires_grad(false);
  parameter.trainable = false;
}

const Tensor& Parameters::operator[](const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) throw Error("ERR_INTERNAL", "The model has no tensor named " + name + ".");
  return all_[found->second].value;
}

void Parameters::check(const NamedTensors& tensors) const {
  for (const auto& [name, source] : tensors) {
    const auto found = index_.find(name);
    if (found == index_.end()) {
      throw Error("ERR_CHECKPOINT_MISMATCH",
                  "The model has no tensor named " + name + ". Use the configuration that the tensors were made with.");
    }
    const Tensor& target = all_[found->second].value;
    if (target.sizes() != source.sizes()) {
      std::ostringstream message;
      message << name << " has shape " << source.sizes() << " where this configuration needs " << target.sizes()
              << ". Use the configuration that the tensors were made with.";
      throw Error("ERR_CHECKPOINT_MISMATCH", message.str());
    }
  }
}

void Parameters::assign(const std::string& name, const Tensor& source) {
  check({{name, source}});
  const at::NoGradGuard no_grad;
  Parameter& parameter = all_[index_.at(name)];
  if (parameter.value.is_meta()) {
    parameter.value =
        at::empty_like(parameter.value, at::device(source.device())).set_requires_grad(parameter.trainable);
  }
  // Written through a detached alias: the tensor itself stays a leaf that wants gradients.
  parameter.value.detach().copy_(source);
}

void Parameters::free(const std::string& name) {
  Parameter& parameter = all_[index_.at(name)];
  parameter.value =
      at::empty_like(parameter.value.detach(), at::device(at::kMeta)).set_requires_grad(parameter.trainable);
}

int64_t Parameters::count(const std::string& prefix) const {
  int64_t total = 0;
  for (const Parameter& parameter : all_) {
    if (parameter.trainable && parameter.name.rfind(prefix, 0) == 0) total += parameter.value.numel();
  }
  return total;
}

namespace {

/// Of the CPU, in any memory order.
bool all_finite(const Tensor& tensor) {
  const Tensor values = tensor.to(at::kFloat);
  const Tensor dense = values.is_non_overlapping_and_dense() ? values : values.contiguous();
  return core::all_finite(dense.const_data_ptr<float>(), dense.numel());
}

}  // namespace

Tensor finite_marks(const std::vector<Tensor>& tensors, at::Device device) {
  const at::NoGradGuard no_grad;
  if (device.is_cpu()) {
    const Tensor marks = at::zeros({static_cast<int64_t>(tensors.size())}, at::kDouble);
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (!all_finite(tensors[i])) marks.mutable_data_ptr<double>()[i] = std::numeric_limits<double>::infinity();
    }
    return marks;
  }
  if (tensors.empty()) return at::zeros({0}, at::device(device).dtype(at::kDouble));
  std::vector<Tensor> filled;  // an empty tensor has no norm
  for (const Tensor& tensor : tensors) filled.push_back(tensor.numel() > 0 ? tensor : at::zeros({1}, tensor.options()));
  // The greatest magnitudes: that of finite values is finite, and NaN is the greatest of all.
  const std::vector<Tensor> magnitudes = at::_foreach_norm(filled, std::numeric_limits<double>::infinity());
  return at::stack(magnitudes).to(at::kFloat).to(at::kDouble).mul_(0);
}

const std::string* first_not_finite(const NamedTensors& tensors) {
  const at::NoGradGuard no_grad;
  std::vector<Tensor> elsewhere;  // than on the CPU, whose marks are read at once
  std::vector<const std::string*> names;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.is_floating_point()) continue;
    if (!tensor.is_cpu()) {
      elsewhere.push_back(tensor.detach());
      names.push_back(&name);
    } else if (!all_finite(tensor)) {
      return &name;
    }
  }
  if (elsewhere.empty()) return nullptr;
  const Tensor marks = finite_marks(elsewhere, elsewhere.front().device()).to(at::kCPU);
  for (size_t i = 0; i < names.size(); ++i) {
    if (!std::isfinite(marks.const_data_ptr<double>()[i])) return names[i];
  }
  return nullptr;
}

}  // namespace soundspot::core
