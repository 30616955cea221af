#include "checkpoint/legacy.h"

#include <algorithm>

#include "checkpoint/format.h"

namespace soundspot::checkpoint {
namespace {

using Kind = PickleValue::Kind;

constexpr std::string_view kMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";  // torch.serialization.MAGIC_NUMBER
constexpr int64_t kVersion = 1001;                                               // torch.serialization.PROTOCOL_VERSION
constexpr size_t kMagicBytes = 32;                                               // the first pickle ends within them
constexpr size_t kFirstBytes = 64 << 10;                                         // enough for the pickles of most files
constexpr size_t kMaxPickleBytes = 64 << 20;                                     // of all pickles together

/// What a storage is, as the object's pickle says.
struct Declared {
  std::string_view type;
  int64_t count;
};

std::map<std::string, Declared> declared(const Pickle& object) {
  std::map<std::string, Declared> result;
  for (const PickleValue* storage : object.storages()) {
    const Declared own{storage->items[1]->text, storage->items[4]->integer};
    const std::string key(storage->items[2]->text);
    const auto [known, is_new] = result.emplace(key, own);
    if (!is_new && (known->second.type != own.type || known->second.count != own.count)) {
      throw FormatError("the data " + printable(key) + " has two types or sizes");
    }
  }
  return result;
}

}  // namespace

bool is_legacy(std::string_view head) {
  return head.starts_with('\x80') && head.substr(0, kMagicBytes).find(kMagic) != std::string_view::npos;
}

bool is_tar(std::string_view head) {
  constexpr size_t kTarMagic = 257;
  return head.size() >= kTarHeadBytes && head.substr(kTarMagic).starts_with("ustar");
}

LegacyFile::LegacyFile(InputFile& file) : file_(file) {
  for (size_t room = kFirstBytes;; room *= 8) {
    bytes_.resize(std::min<uint64_t>(file_.size(), std::min(room, kMaxPickleBytes)));
    file_.read(0, bytes_.data(), bytes_.size());
    try {
      find_storages(read_pickles());
      return;
    } catch (const CutOffError&) {
      if (bytes_.size() == file_.size()) throw;
      if (bytes_.size() == kMaxPickleBytes) throw FormatError("its pickle has more than 64 MiB");
    }
  }
}

/// @return where the last one ends
uint64_t LegacyFile::read_pickles() {
  std::string_view rest = bytes_;
  const auto next = [&](std::optional<Pickle>& pickle) -> const PickleValue& {
    pickle.emplace(rest, Pickle::After::kAnything);
    rest.remove_prefix(pickle->size());
    return pickle->root();
  };
  std::optional<Pickle> header;
  next(header);
  if (!std::string_view(bytes_).substr(0, header->size() - 1).ends_with(kMagic)) {
    throw FormatError("its magic number is damaged");
  }
  const PickleValue& version = next(header);
  if (version.kind != Kind::kInteger || version.integer != kVersion) {
    throw FormatError("its format has an unknown version");
  }
  const PickleValue& machine = next(header);
  const PickleValue* little_endian = machine.kind == Kind::kDict ? machine.find("little_endian") : nullptr;
  if (little_endian == nullptr || little_endian->kind != Kind::kBool) {
    throw FormatError("its description of the machine is damaged");
  }
  if (little_endian->integer == 0) {
    throw FormatError("it was saved on a big-endian machine; load it there and save it as safetensors");
  }
  next(object_);
  next(keys_);
  return bytes_.size() - rest.size();
}

/// The storages follow the pickles at `offset`: for each its number of elements, int64, and its data.
void LegacyFile::find_storages(uint64_t offset) {
  const PickleValue& keys = keys_->root();
  if (keys.kind != Kind::kList && keys.kind != Kind::kTuple) throw FormatError("its list of data is damaged");
  const std::map<std::string, Declared> storages = declared(*object_);
  for (const PickleValue* item : keys.items) {
    if (item->kind != Kind::kString) throw FormatError("its list of data is damaged");
    const std::string key(item->text);
    const auto found = storages.find(key);
    if (found == storages.end()) throw FormatError("the data " + printable(key) + " belongs to no tensor");
    const uint64_t item_size = storage_item_size(found->second.type);
    if (item_size == 0) {
      throw FormatError("a tensor has the type " + printable(found->second.type) + ", which is not supported");
    }
    int64_t count = 0;
    file_.read(offset, &count, sizeof count);
    offset += sizeof count;
    if (count < 0 || count != found->second.count) {
      throw FormatError("the data " + printable(key) + " has another size than its tensors");
    }
    if (static_cast<uint64_t>(count) > (file_.size() - offset) / item_size) {
      throw FormatError("the file ends too early, within the data " + printable(key));
    }
    const uint64_t bytes = static_cast<uint64_t>(count) * item_size;
    if (!places_.emplace(key, Place{offset, bytes}).second) {
      throw FormatError("the data " + printable(key) + " comes twice");
    }
    offset += bytes;
  }
}

const LegacyFile::Place& LegacyFile::place(const std::string& key) const {
  const auto found = places_.find(key);
  if (found == places_.end()) throw FormatError("the data " + printable(key) + " is missing");
  return found->second;
}

void LegacyFile::read(const std::string& key, void* to) const {
  const Place& found = place(key);
  file_.read(found.offset, to, found.bytes);
}

}  // namespace soundspot::checkpoint
