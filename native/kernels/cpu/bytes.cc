// Activations as bytes.
#include <algorithm>

#include "kernels/cpu/tables.h"

namespace soundspot::kernels {
inline namespace CPU_CAPABILITY {

namespace {

void to_bytes(const float* x, float factor, int64_t count, uint8_t* out) {
  constexpr float kMost = 255;
  for (int64_t i = 0; i < count; ++i) {
    out[i] = static_cast<uint8_t>(static_cast<int32_t>(std::min(std::max(x[i] * factor, 0.0F), kMost) + 0.5F));
  }
}

}  // namespace

void fill_bytes(Kernels& table) { table.to_bytes = to_bytes; }

}  // namespace CPU_CAPABILITY
}  // namespace soundspot::kernels
