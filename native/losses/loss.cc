#include "losses/loss.h"

#include <limits>

#include "core/error.h"
#include "kernels/products.h"

namespace soundspot::losses {

std::map<std::string, Loss>& registry() {
  static std::map<std::string, Loss> losses;
  return losses;
}

const Loss& find_loss(const std::string& name) {
  const auto found = registry().find(name);
  if (found != registry().end()) return found->second;
  std::string known;
  for (const auto& [other, loss] : registry()) known += (known.empty() ? "" : ", ") + other;
  throw Error("ERR_CONFIG", "There is no loss named \"" + name + "\". Known losses: " + known + ".");
}

Register::Register(const std::string& name, std::vector<std::string> needs,
                   std::function<Tensor(const LossInputs&)> compute) {
  registry().emplace(name, Loss{std::move(needs), std::move(compute)});
}

Tensor target_vectors(const Tensor& slots, int64_t target_slots) {
  const Tensor target = slots.narrow(1, 0, target_slots);
  return (target / target.norm(2, {2}, /*keepdim=*/true).clamp_min(1e-12)).flatten(1);
}

Tensor target_similarity(const Tensor& rows, const Tensor& columns, int64_t target_slots) {
  return kernels::matmul(rows, columns.t()) / static_cast<double>(target_slots);
}

Tensor symmetric_cross_entropy(const Tensor& similarity, double temperature, const Tensor& excluded) {
  Tensor logits = similarity / temperature;
  if (excluded.defined()) logits = logits.masked_fill(excluded, -std::numeric_limits<float>::infinity());
  const Tensor own = at::arange(logits.size(0), logits.options().dtype(at::kLong));
  return at::cross_entropy_loss(logits, own) + at::cross_entropy_loss(logits.t(), own);
}

}  // namespace soundspot::losses
