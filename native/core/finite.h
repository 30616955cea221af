// Whether values are finite.
#pragma once

#include <bit>
#include <cstdint>

namespace soundspot::core {

/// Whether none of `count` values is infinite or not a number: one pass without branches, and no temporary.
inline bool all_finite(const float* values, int64_t count) {
  constexpr uint32_t kExponent = 0x7f800000;  // of all ones in either
  uint32_t found = 0;
  for (int64_t i = 0; i < count; ++i) {
    found |= static_cast<uint32_t>((std::bit_cast<uint32_t>(values[i]) & kExponent) == kExponent);
  }
  return found == 0;
}

}  // namespace soundspot::core
