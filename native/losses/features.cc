#include "losses/features.h"

#include "core/error.h"

namespace soundspot::losses {

const Tensor* Features::find(const std::string& name) const {
  for (const auto& [own, value] : items_) {
    if (own == name) return &value;
  }
  return nullptr;
}

const Tensor& Features::operator[](const std::string& name) const {
  if (const Tensor* found = find(name)) return *found;
  throw Error("ERR_INTERNAL", "The forward pass gave no " + name + ".");
}

Features Features::joined(const std::vector<Features>& parts) {
  Features whole;
  for (size_t i = 0; i < parts.front().items_.size(); ++i) {
    std::vector<Tensor> pieces;
    for (const Features& part : parts) pieces.push_back(part.items_[i].second);
    whole.items_.emplace_back(parts.front().items_[i].first, at::cat(pieces).requires_grad_());
  }
  return whole;
}

}  // namespace soundspot::losses
