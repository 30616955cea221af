// The methods' numbers and losses, as src/config/methods.ts has them by default.
#include "verify/steps.h"

namespace soundspot::verify {

std::vector<MethodCase> method_cases() {
  constexpr double kTemperature = 0.1;
  const auto loss = [](const std::string& name, double weight) {
    return methods::WeightedLoss{name, weight, kTemperature};
  };
  return {
      {"joint-slot-attention",
       {{"targetSlots", 1},
        {"offTargetSlots", 1},
        {"sharedSlots", 1},
        {"iterations", 5},
        {"mlpHidden", 64},
        {"decoderHidden", 32},
        {"decoderLayers", 3},
        {"maskProbability", 0.1}},
       {loss("contrastive", 1), loss("matching", 100), loss("divergence", 0.1), loss("reconstruction", 0.1),
        loss("crossAttention", 1)},
       /*pooled_audio=*/false},
      {"similarity", {}, {loss("maxSimilarity", 1), loss("pooled", 1)}},
      {"lvs", {}, {loss("triMap", 1)}},
      {"ez-vsl", {}, {loss("maxSimilarity", 1)}},
      {"slavc", {{"momentum", 0.9}, {"momentumEvaluation", 0}}, {loss("twoHeads", 1)}},
      {"fnac",
       {},
       {loss("maxSimilarity", 1), loss("audioSuppression", 100), loss("imageSuppression", 100),
        loss("foregroundSeparation", 100)}},
      {"alignment", {}, {loss("viewLocalization", 1), loss("viewAlignment", 1)}},
      {"ssl-tie",
       {{"maxAngle", 30}, {"smallScale", 0.5}},
       {loss("triMap", 0.5), loss("triMapTransformed", 0.5), loss("equivariance", 1)}},
  };
}

}  // namespace soundspot::verify
