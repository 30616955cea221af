#include "checkpoint/storages.h"

#include <algorithm>
#include <bit>
#include <iterator>

namespace soundspot::checkpoint {
namespace {

static_assert(std::endian::native == std::endian::little, "storages are little-endian");

struct StorageType {
  std::string_view name;
  at::ScalarType type;
};
constexpr StorageType kSupported[] = {{"FloatStorage", at::kFloat},       {"DoubleStorage", at::kDouble},
                                      {"HalfStorage", at::kHalf},         {"LongStorage", at::kLong},
                                      {"BFloat16Storage", at::kBFloat16}, {"IntStorage", at::kInt},
                                      {"ShortStorage", at::kShort},       {"CharStorage", at::kChar},
                                      {"ByteStorage", at::kByte},         {"BoolStorage", at::kBool}};

struct StorageSize {
  std::string_view name;
  uint64_t bytes;
};
constexpr StorageSize kOthers[] = {{"ComplexFloatStorage", 8}, {"ComplexDoubleStorage", 16}, {"QInt8Storage", 1},
                                   {"QUInt8Storage", 1},       {"QInt32Storage", 4},         {"UntypedStorage", 1}};

/// "FloatStorage" of "torch.cuda.FloatStorage"; "" where the name is not one of PyTorch.
std::string_view short_name(std::string_view name) {
  for (const std::string_view module : {"torch.cuda.", "torch.storage.", "torch."}) {
    if (name.starts_with(module)) return name.substr(module.size());
  }
  return "";
}

}  // namespace

std::optional<at::ScalarType> storage_type(std::string_view name) {
  const auto* found = std::find_if(std::begin(kSupported), std::end(kSupported),
                                   [&](const StorageType& known) { return known.name == short_name(name); });
  if (found == std::end(kSupported)) return std::nullopt;
  return found->type;
}

uint64_t storage_item_size(std::string_view name) {
  if (const auto type = storage_type(name)) return at::elementSize(*type);
  const auto* found = std::find_if(std::begin(kOthers), std::end(kOthers),
                                   [&](const StorageSize& known) { return known.name == short_name(name); });
  return found == std::end(kOthers) ? 0 : found->bytes;
}

}  // namespace soundspot::checkpoint
