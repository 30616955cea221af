// EZ-VSL (Mo and Morgado, "Localizing visual sounds the easy way", ECCV 2022): the loss is maxSimilarity.
#include "methods/token_cosine.h"

namespace soundspot::methods {
namespace {

const Register registered_method{"ez-vsl", [](const encoders::ModelConfig&) -> std::unique_ptr<Method> {
                                   return std::make_unique<TokenCosine>("ez-vsl");
                                 }};

}  // namespace
}  // namespace soundspot::methods
