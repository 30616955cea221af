// The format of torch.save from PyTorch 0.1.11 to 1.5, which later versions still write on request: four pickles (magic
// number, version, machine, object), a pickle of the list of storages, and the storages one after the other.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "checkpoint/file.h"
#include "checkpoint/pickle.h"
#include "checkpoint/storages.h"

namespace soundspot::checkpoint {

/// Whether a file with these first bytes is of this format; 32 are enough.
bool is_legacy(std::string_view head);

/// Whether it is a tar archive, as PyTorch wrote before this format; kTarHeadBytes are enough.
bool is_tar(std::string_view head);
inline constexpr size_t kTarHeadBytes = 512;

/// A file of this format: its object, and where its storages lie.
class LegacyFile final : public StorageSource {
 public:
  /// Reads the pickles and the sizes of the storages, not their data. `file` must outlive it.
  /// @throws FormatError
  explicit LegacyFile(InputFile& file);

  const PickleValue& root() const { return object_->root(); }

  uint64_t size(const std::string& key) const override { return place(key).bytes; }
  void read(const std::string& key, void* to) const override;

 private:
  struct Place {
    uint64_t offset;
    uint64_t bytes;
  };

  uint64_t read_pickles();
  void find_storages(uint64_t offset);
  const Place& place(const std::string& key) const;

  InputFile& file_;
  std::string bytes_;  // the file's first ones; the pickles refer to them
  std::optional<Pickle> object_, keys_;
  std::map<std::string, Place> places_;
};

}  // namespace soundspot::checkpoint
