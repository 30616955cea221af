// The data of tensors: where a file keeps it, and of which type it is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/torch.h"

namespace soundspot::checkpoint {

/// The storages of one file of torch.save, each a little-endian array behind a key.
class StorageSource {
 public:
  StorageSource() = default;
  virtual ~StorageSource() = default;
  StorageSource(const StorageSource&) = delete;
  StorageSource& operator=(const StorageSource&) = delete;

  /// In bytes.
  /// @throws FormatError when there is no such storage.
  virtual uint64_t size(const std::string& key) const = 0;

  /// All of its bytes into `to`, which has room for `size(key)`.
  /// @throws FormatError
  virtual void read(const std::string& key, void* to) const = 0;
};

/// The type of the elements of "torch.FloatStorage" and its like, on the CPU or CUDA; none where it is not supported.
std::optional<at::ScalarType> storage_type(std::string_view name);

/// Bytes per element of a storage, of types that are not supported too: what follows it in a file may be needed. 0
/// where the name is unknown.
uint64_t storage_item_size(std::string_view name);

}  // namespace soundspot::checkpoint
