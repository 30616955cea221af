// FNAC (Sun et al., "Learning audio-visual source localization via false negative aware contrastive learning", CVPR
// 2023): the model of EZ-VSL, trained by three terms more (native/losses/fnac.cc).
#include "methods/token_cosine.h"

namespace soundspot::methods {
namespace {

const Register registered_method{"fnac", [](const encoders::ModelConfig&) -> std::unique_ptr<Method> {
                                   return std::make_unique<TokenCosine>("fnac");
                                 }};

}  // namespace
}  // namespace soundspot::methods
