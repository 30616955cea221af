// Times of the kernels at the paper's sizes, each against the composition of LibTorch's operators that it replaces, and
// of whole training steps against the plain pass.
#pragma once

#include "verify/problem.h"

namespace soundspot::verify {

/// On a GPU.
void time_kernels(const Subject& subject, Report& report);

}  // namespace soundspot::verify
