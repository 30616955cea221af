#include "core/parameters.h"

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
  // Written through a detached alias: the tensor itself stays a leaf that wants gradients.
  all_[index_.at(name)].value.detach().copy_(source);
}

int64_t Parameters::count(const std::string& prefix) const {
  int64_t total = 0;
  for (const Parameter& parameter : all_) {
    if (parameter.trainable && parameter.name.rfind(prefix, 0) == 0) total += parameter.value.numel();
  }
  return total;
}

const std::string* first_not_finite(const NamedTensors& tensors) {
  const at::NoGradGuard no_grad;
  std::vector<Tensor> flags;  // of tensors elsewhere than on the CPU, read at once
  std::vector<const std::string*> names;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.is_floating_point()) continue;
    const Tensor values = tensor.to(at::kFloat);
    if (!values.is_cpu()) {
      flags.push_back(at::isfinite(values).all());
      names.push_back(&name);
      continue;
    }
    // In any memory order.
    const Tensor dense = values.is_non_overlapping_and_dense() ? values : values.contiguous();
    if (!core::all_finite(dense.const_data_ptr<float>(), dense.numel())) return &name;
  }
  if (flags.empty()) return nullptr;
  const Tensor finite = at::stack(flags).to(at::kCPU);
  for (size_t i = 0; i < names.size(); ++i) {
    if (!finite.const_data_ptr<bool>()[i]) return names[i];
  }
  return nullptr;
}

}  // namespace soundspot::core
