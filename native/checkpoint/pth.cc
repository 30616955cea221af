#include "checkpoint/pth.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "checkpoint/file.h"
#include "checkpoint/format.h"
#include "checkpoint/legacy.h"
#include "checkpoint/pickle.h"
#include "checkpoint/storages.h"
#include "checkpoint/zip.h"

namespace soundspot::checkpoint {
namespace {

using Kind = PickleValue::Kind;

constexpr uint64_t kMaxPickleBytes = 64 << 20;

/// "archive" of "archive/data.pkl": torch.save names the folder after the file.
std::string find_folder(const ZipArchive& archive) {
  constexpr std::string_view kPickle = "/data.pkl";
  std::vector<std::string> found;
  for (const auto& [name, entry] : archive.entries()) {
    const size_t slash = name.find('/');
    if (slash != std::string::npos && std::string_view(name).substr(slash) == kPickle)
      found.push_back(name.substr(0, slash));
  }
  if (found.size() != 1) throw FormatError("it is a zip archive, but not one of torch.save");
  if (archive.entries().contains(found[0] + "/constants.pkl")) {
    throw FormatError("it is a TorchScript program; save the model's state_dict() with torch.save instead");
  }
  return found[0];
}

std::vector<int64_t> integers(const PickleValue& value) {
  if (value.kind != Kind::kTuple && value.kind != Kind::kList) throw FormatError("a tensor has no shape");
  if (value.items.size() > kMaxRank) throw FormatError("a tensor has too many dimensions");
  std::vector<int64_t> result;
  for (const PickleValue* item : value.items) {
    if (item->kind != Kind::kInteger) throw FormatError("a tensor has a shape of something other than integers");
    result.push_back(item->integer);
  }
  return result;
}

/// The storages of a zip archive: an entry each, "archive/data/KEY".
class ZipStorages final : public StorageSource {
 public:
  ZipStorages(const ZipArchive& archive, const std::string& folder) : archive_(archive), folder_(folder + "/data/") {}

  uint64_t size(const std::string& key) const override { return archive_.entry(folder_ + key).size; }
  void read(const std::string& key, void* to) const override { archive_.read(folder_ + key, to); }

 private:
  const ZipArchive& archive_;
  std::string folder_;
};

/// Makes the tensors that a pickle describes, reading each storage once.
class TensorReader {
 public:
  TensorReader(const StorageSource& source, uint64_t file_bytes)
      : source_(source), file_bytes_(file_bytes), room_(file_bytes) {}

  Tensor read(const PickleValue& value) {
    if (value.items[0]->kind != Kind::kStorage || value.items[1]->kind != Kind::kInteger) {
      throw FormatError("a tensor has no data");
    }
    const Tensor storage = part(this->storage(*value.items[0]), *value.items[0]);
    const int64_t offset = value.items[1]->integer;
    const std::vector<int64_t> sizes = integers(*value.items[2]);
    const std::vector<int64_t> strides = integers(*value.items[3]);
    const int64_t count = element_count(sizes, static_cast<int64_t>(storage.element_size()));
    if (sizes.size() != strides.size() || offset < 0) throw FormatError("a tensor's strides do not fit its shape");
    if (count == 0) return at::empty(sizes, storage.options());
    // Strides of 0 can make any shape from one element, too large to copy.
    if (static_cast<uint64_t>(count) > file_bytes_) throw FormatError("a tensor is far larger than its data");

    int64_t room = storage.numel() - offset - 1;  // elements behind the first one
    for (size_t d = 0; d < sizes.size() && room >= 0; ++d) {
      const int64_t steps = sizes[d] - 1;
      if (steps == 0) continue;
      if (strides[d] < 0 || strides[d] > room / steps) {
        room = -1;
      } else {
        room -= steps * strides[d];
      }
    }
    if (room < 0) throw FormatError("a tensor reaches beyond its data");
    return storage.as_strided(sizes, strides, storage.storage_offset() + offset);
  }

 private:
  /// All elements of a storage, [n].
  const Tensor& storage(const PickleValue& value) {
    const std::string_view type_name = value.items[1]->text;
    const std::string key(value.items[2]->text);
    const int64_t count = value.items[4]->integer;
    const std::optional<at::ScalarType> type = storage_type(type_name);
    if (!type) throw FormatError("a tensor has the type " + printable(type_name) + ", which is not supported");
    if (const auto found = storages_.find(key); found != storages_.end()) {
      if (found->second.scalar_type() != *type || found->second.numel() != count) {
        throw FormatError("the data " + printable(key) + " has two types or sizes");
      }
      return found->second;
    }

    const uint64_t bytes = source_.size(key);
    const uint64_t item_size = at::elementSize(*type);
    if (count < 0 || bytes % item_size != 0 || bytes / item_size != static_cast<uint64_t>(count)) {
      throw FormatError("the data " + printable(key) + " has another size than its tensors");
    }
    if (bytes > room_) throw FormatError("its tensors need more bytes than the file has");
    room_ -= bytes;
    Tensor data = at::empty({count}, at::TensorOptions().dtype(*type));
    source_.read(key, data.mutable_data_ptr());
    if (*type == at::kBool) check_booleans(data.const_data_ptr(), bytes);
    return storages_.emplace(key, std::move(data)).first->second;
  }

  /// The elements of `storage` that are meant by `value`: all, or the part that it names.
  Tensor part(const Tensor& storage, const PickleValue& value) {
    if (value.items.size() < 6 || value.items[5]->kind == Kind::kNone) return storage;
    const PickleValue& view = *value.items[5];
    if (view.kind != Kind::kTuple || view.items.size() != 3 || view.items[0]->kind != Kind::kString ||
        view.items[1]->kind != Kind::kInteger || view.items[2]->kind != Kind::kInteger) {
      throw FormatError("a tensor's part of its data is damaged");
    }
    const Part own{storage.const_data_ptr(), view.items[1]->integer, view.items[2]->integer};
    if (own.offset < 0 || own.count < 0 || own.offset > storage.numel() || own.count > storage.numel() - own.offset) {
      throw FormatError("a tensor's part reaches beyond its data");
    }
    const std::string key(view.items[0]->text);
    if (parts_.emplace(key, own).first->second != own) {
      throw FormatError("the part " + printable(key) + " has two places or sizes");
    }
    return storage.narrow(0, own.offset, own.count);
  }

  struct Part {
    const void* storage;
    int64_t offset, count;  // elements
    bool operator==(const Part&) const = default;
  };

  const StorageSource& source_;
  uint64_t file_bytes_;
  uint64_t room_;  // bytes that storages may still take: entries that overlap could ask for any amount
  std::map<std::string, Tensor> storages_;
  std::map<std::string, Part> parts_;
};

/// Keys of a state dict beside other objects, the preferred one first.
constexpr std::string_view kKeys[] = {"state_dict", "model_state_dict", "model", "net", "weights"};
constexpr size_t kMaxDepth = 8;  // dictionaries within dictionaries that are looked into

/// A dictionary that holds tensors itself.
struct Candidate {
  std::string key;
  const PickleValue* dict;
  bool has_inner;  // candidates below its keys: then it holds objects that a program saved beside them
};

bool holds_tensors(const PickleValue& dict) {
  for (size_t i = 1; i < dict.items.size(); i += 2) {
    if (dict.items[i]->kind == Kind::kTensor) return true;
  }
  return false;
}

/// Those below `dict`, then itself.
void collect(const PickleValue& dict, const std::string& key, size_t depth, std::set<const PickleValue*>& seen,
             std::vector<Candidate>& found) {
  if (!seen.insert(&dict).second) return;  // dictionaries may form cycles
  const size_t before = found.size();
  for (const std::string_view inner : kKeys) {
    const PickleValue* value = dict.find(inner);
    if (value == nullptr || value->kind != Kind::kDict || depth == kMaxDepth) continue;
    collect(*value, (key.empty() ? "" : key + ".") + std::string(inner), depth + 1, seen, found);
  }
  if (holds_tensors(dict)) found.push_back({key, &dict, found.size() > before});
}

/// @throws FormatError that says what a file without any state dict holds instead.
[[noreturn]] void no_state_dict(const PickleValue& root) {
  std::vector<const PickleValue*> values{&root};
  if (root.kind == Kind::kDict) {
    for (const std::string_view key : kKeys) values.push_back(root.find(key));
  }
  for (const PickleValue* value : values) {
    if (value == nullptr || value->kind != Kind::kOther) continue;
    throw FormatError("it holds an object of " + printable(value->text) +
                      ", not a state dict; save the model's state_dict() with torch.save instead");
  }
  if (root.kind != Kind::kDict) throw FormatError("it holds no state dict");
  std::string keys;
  for (const std::string_view key : kKeys) keys += (keys.empty() ? "\"" : ", \"") + std::string(key) + "\"";
  throw FormatError("it holds no tensors, neither at its top nor under " + keys);
}

/// The tensors of a state dict. Beside numbers and texts it may hold nothing else, unless it holds state dicts as well.
/// @param room tensors that may still be read
Group read_group(const Candidate& candidate, TensorReader& reader, size_t& room) {
  Group group{candidate.key, {}, ""};
  const auto flawed = [&](const std::string& why) {
    if (!candidate.has_inner && group.flaw.empty()) group.flaw = why;
  };
  std::set<std::string_view> names;
  const auto& items = candidate.dict->items;
  for (size_t i = 0; i < items.size(); i += 2) {
    const PickleValue& value = *items[i + 1];
    if (items[i]->kind != Kind::kString) {
      flawed("its state dict has a name that is no string");
      continue;
    }
    const std::string_view name = items[i]->text;
    if (!names.insert(name).second) throw FormatError("the name " + printable(name) + " comes twice");
    if (value.kind == Kind::kOther && value.text != "float") {
      flawed(printable(name) + " is an object of " + printable(value.text) + " where a tensor should be");
    }
    if (value.kind != Kind::kTensor) continue;
    if (room-- == 0) throw FormatError("it has too many tensors");
    try {
      group.tensors.emplace_back(name, reader.read(value));
    } catch (const FormatError& error) {
      throw FormatError(printable(name) + ": " + error.what());
    }
  }
  return group;
}

/// The state dicts in the object that a file saved.
State read_state(const PickleValue& root, const StorageSource& source, uint64_t file_bytes) {
  std::vector<Candidate> candidates;
  std::set<const PickleValue*> seen;
  if (root.kind == Kind::kDict) collect(root, "", 0, seen, candidates);
  if (candidates.empty()) no_state_dict(root);

  std::vector<Group> groups;
  TensorReader reader(source, file_bytes);
  size_t room = kMaxTensors;
  for (const Candidate& candidate : candidates) groups.push_back(read_group(candidate, reader, room));
  if (groups.size() == 1 && !groups[0].flaw.empty()) throw FormatError(groups[0].flaw);
  State state;
  static_cast<Group&>(state) = std::move(groups[0]);
  state.others.assign(std::make_move_iterator(groups.begin() + 1), std::make_move_iterator(groups.end()));
  return state;
}

State read_zip(InputFile& file) {
  const ZipArchive archive(file);
  const std::string folder = find_folder(archive);
  if (archive.entries().contains(folder + "/byteorder") && archive.read(folder + "/byteorder", 16) != "little") {
    throw FormatError("it was saved on a big-endian machine; load it there and save it as safetensors");
  }
  const std::string bytes = archive.read(folder + "/data.pkl", kMaxPickleBytes);
  const Pickle pickle(bytes);
  return read_state(pickle.root(), ZipStorages(archive, folder), file.size());
}

State read(InputFile& file) {
  std::string head(std::min<uint64_t>(file.size(), kPthHeadBytes), '\0');
  file.read(0, head.data(), head.size());
  if (is_legacy(head)) {
    const LegacyFile legacy(file);
    return read_state(legacy.root(), legacy, file.size());
  }
  if (is_tar(head)) {
    throw FormatError(
        "it is a tar archive, as PyTorch up to 0.1.10 saved; load it in PyTorch and save it again with torch.save");
  }
  if (!head.starts_with("PK")) throw FormatError("it is not a checkpoint of torch.save");
  return read_zip(file);
}

}  // namespace

static_assert(kPthHeadBytes >= kTarHeadBytes);

bool is_pth(std::string_view head) { return head.starts_with("PK") || is_legacy(head) || is_tar(head); }

State read_pth(const std::string& path) {
  InputFile file(path);
  try {
    return read(file);
  } catch (const FormatError& error) {
    corrupt(path, error.what());
  }
}

}  // namespace soundspot::checkpoint
