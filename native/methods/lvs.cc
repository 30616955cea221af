// LVS (Chen et al., "Localizing visual sounds the hard way", CVPR 2021): the loss is triMap (native/losses/lvs.cc).
#include "methods/token_cosine.h"

namespace soundspot::methods {
namespace {

const Register registered_method{"lvs", [](const encoders::ModelConfig&) -> std::unique_ptr<Method> {
                                   return std::make_unique<TokenCosine>("lvs");
                                 }};

}  // namespace
}  // namespace soundspot::methods
