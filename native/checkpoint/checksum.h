// The checksum that a checkpoint carries.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "checkpoint/state.h"

namespace soundspot::checkpoint {

/// XXH64 with seed 0: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
uint64_t xxh64(std::string_view bytes);

inline constexpr const char* kChecksumPrefix = "xxh64:";

/// Of all names, types, shapes and values of `state`, whose tensors are contiguous and on the CPU, and of its metadata;
/// their order does not matter. kChecksumPrefix and 16 hexadecimal digits.
std::string checksum(const State& state);

}  // namespace soundspot::checkpoint
