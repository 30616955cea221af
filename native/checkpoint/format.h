// Common to the file formats: their one failure, and the checks on shapes and values read from a file.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace soundspot::checkpoint {

/// Bytes that break their format. The readers of files turn it into ERR_CHECKPOINT_CORRUPT with `corrupt`.
class FormatError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Most tensors in one file, and most dimensions of one tensor.
inline constexpr size_t kMaxTensors = 100'000;
inline constexpr size_t kMaxRank = 64;

/// @throws Error ERR_CHECKPOINT_CORRUPT, always: "<path>: <what>. Download or save it again."
[[noreturn]] void corrupt(const std::string& path, const std::string& what);

/// A name taken from a file, fit for a message: quoted, short, printable.
std::string printable(std::string_view name);

/// The number of elements of `sizes`.
/// @throws FormatError when a size is negative, there are more than kMaxRank, or the bytes would overflow int64. Sizes
///         beside a zero count too, as strides are made from them.
int64_t element_count(const std::vector<int64_t>& sizes, int64_t item_size);

/// Every byte of a bool tensor must be 0 or 1; C++ gives other values no meaning.
/// @throws FormatError for another value.
void check_booleans(const void* data, size_t bytes);

}  // namespace soundspot::checkpoint
