#include "checkpoint/format.h"

#include <algorithm>
#include <limits>

#include "core/error.h"

namespace soundspot::checkpoint {

void corrupt(const std::string& path, const std::string& what) {
  throw Error("ERR_CHECKPOINT_CORRUPT", path + ": " + what + ". Download or save it again.");
}

std::string printable(std::string_view name) {
  constexpr size_t kLongest = 120;
  std::string text = "\"";
  for (const char c : name.substr(0, kLongest)) {
    text += c >= 0x20 && c <= 0x7e ? c : '?';
  }
  return text + (name.size() > kLongest ? "…\"" : "\"");
}

int64_t element_count(const std::vector<int64_t>& sizes, int64_t item_size) {
  if (sizes.size() > kMaxRank) throw FormatError("a tensor has " + std::to_string(sizes.size()) + " dimensions");
  int64_t room = std::numeric_limits<int64_t>::max() / item_size;  // elements that may still be multiplied in
  int64_t count = 1;
  for (const int64_t size : sizes) {
    if (size < 0) throw FormatError("a tensor has a negative size");
    room /= std::max<int64_t>(size, 1);
    if (room == 0) throw FormatError("a tensor's shape is too large for any memory");
    count *= size;
  }
  return count;
}

void check_booleans(const void* data, size_t bytes) {
  const auto* first = static_cast<const unsigned char*>(data);
  if (std::any_of(first, first + bytes, [](unsigned char byte) { return byte > 1; })) {
    throw FormatError("a bool tensor holds values other than 0 and 1");
  }
}

}  // namespace soundspot::checkpoint
