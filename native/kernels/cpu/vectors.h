// The registers of this instruction set, and their contents in products of panels.
#pragma once

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include "kernels/cpu/kernels.h"

namespace soundspot::kernels {
inline namespace CPU_CAPABILITY {

using Vec = at::vec::Vectorized<float>;
constexpr int64_t kLanes = Vec::size();
constexpr int64_t kVectors = kPanel / kLanes;    // of a panel's row
constexpr int64_t kRows = kLanes >= 16 ? 8 : 3;  // that fit into the registers beside it
static_assert(kPanel % kLanes == 0);

}  // namespace CPU_CAPABILITY
}  // namespace soundspot::kernels
