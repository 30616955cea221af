#include "methods/method.h"

#include <algorithm>

#include "core/error.h"

namespace soundspot::methods {

namespace {

bool among(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// The reference computation over weights that stay where they are.
class Unfrozen final : public Responder {
 public:
  Unfrozen(const Method& method, const Parameters& parameters) : method_(method), parameters_(parameters) {}

  Response respond(const EncoderOutputs& tokens, const RespondOptions& options) const override {
    return method_.respond(parameters_, tokens, options);
  }
  Tensor embed(Modality modality, const Tensor& tokens) const override {
    return method_.embed(parameters_, modality, tokens);
  }

 private:
  const Method& method_;
  const Parameters& parameters_;
};

}  // namespace

std::vector<Tensor*> tensors_of(Response& response) {
  std::vector<Tensor*> all{&response.audio_maps, &response.image_embedding, &response.audio_embedding};
  if (response.image_maps) all.push_back(&*response.image_maps);
  if (response.joint) {
    slot_attention::JointAttention& joint = *response.joint;
    slot_attention::AttentionLogits& logits = joint.logits;
    all.insert(all.end(), {&joint.image_slots, &joint.audio_slots, &joint.image_queries, &joint.audio_queries,
                           &joint.image_keys, &joint.audio_keys, &joint.image_on_image, &joint.audio_on_image,
                           &joint.audio_on_audio, &joint.image_on_audio, &logits.image_on_image, &logits.audio_on_image,
                           &logits.audio_on_audio, &logits.image_on_audio});
  }
  return all;
}

std::unique_ptr<Responder> Method::freeze(const Parameters& parameters, const core::Compute&) const {
  return unfrozen(parameters);
}

std::unique_ptr<Responder> Method::unfrozen(const Parameters& parameters) const {
  return std::make_unique<Unfrozen>(*this, parameters);
}

ParameterKind Method::kind(const std::string& name) const {
  const std::string prefix = copies();
  return !prefix.empty() && name.starts_with(prefix) ? ParameterKind::kAverage : ParameterKind::kTrained;
}

void Method::move_copies(const Parameters& parameters, double momentum) const {
  const at::NoGradGuard no_grad;
  const std::string prefix = copies();
  for (const core::Parameter& parameter : parameters.all()) {
    if (!parameter.trainable || !parameters.has(prefix + parameter.name)) continue;
    Tensor copy = parameters[prefix + parameter.name];
    copy.mul_(momentum).add_(parameter.value, 1 - momentum);
  }
}

Terms Method::registered(const Features& features, const StepContext& context, const Tensor& excluded) const {
  Terms terms;
  for (const WeightedLoss& loss : context.losses) {
    const losses::LossInputs inputs{features, targets(), loss.temperature, excluded, context.peers};
    terms.values.emplace_back(loss.name, losses::find_loss(loss.name).compute(inputs).to(at::kFloat));
  }
  return terms;
}

std::map<std::string, Factory>& registry() {
  static std::map<std::string, Factory> methods;
  return methods;
}

std::unique_ptr<Method> make(const encoders::ModelConfig& config) {
  const auto found = registry().find(config.method.name);
  if (found != registry().end()) return found->second(config);
  std::string known;
  for (const auto& [other, factory] : registry()) known += (known.empty() ? "" : ", ") + other;
  throw Error("ERR_CONFIG", "There is no method named \"" + config.method.name + "\". Known methods: " + known + ".");
}

Register::Register(const std::string& name, Factory factory) { registry().emplace(name, std::move(factory)); }

std::vector<std::string> needed(const std::vector<WeightedLoss>& losses, const std::string& method,
                                const std::vector<std::string>& offered) {
  std::vector<std::string> names;
  for (const WeightedLoss& loss : losses) {
    for (const std::string& name : losses::find_loss(loss.name).needs) {
      if (!among(offered, name)) {
        throw Error("ERR_CONFIG", "The method " + method + " has no loss " + loss.name + ": it gives no " + name + ".");
      }
      if (!among(names, name)) names.push_back(name);
    }
  }
  return names;
}

}  // namespace soundspot::methods
