// What the fuzz targets share: input as a file, and the failures that a reader may give.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace soundspot::fuzz {

inline std::string_view text(const uint8_t* data, size_t bytes) { return {reinterpret_cast<const char*>(data), bytes}; }

/// Lets an unexpected state end the process, so that libFuzzer keeps the input.
inline void require(bool condition) {
  if (!condition) std::abort();
}

/// The path of a file in memory that holds `bytes`; the next call replaces them.
inline std::string file_of(std::string_view bytes) {
  static const int descriptor = memfd_create("input", MFD_CLOEXEC);
  require(descriptor >= 0 && ftruncate(descriptor, static_cast<off_t>(bytes.size())) == 0);
  require(pwrite(descriptor, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return "/proc/self/fd/" + std::to_string(descriptor);
}

}  // namespace soundspot::fuzz
