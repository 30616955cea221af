#include "checkpoint/pth.h"

#include <algorithm>
#include <bit>
#include <map>
#include <set>

#include "checkpoint/file.h"
#include "checkpoint/format.h"
#include "checkpoint/pickle.h"
#include "checkpoint/zip.h"

namespace soundspot::checkpoint {
namespace {

using Kind = PickleValue::Kind;

static_assert(std::endian::native == std::endian::little, "storages are little-endian");

constexpr uint64_t kMaxPickleBytes = 64 << 20;
constexpr std::string_view kLegacyMagic =
    "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";  // torch.serialization.MAGIC_NUMBER
constexpr size_t kHeadBytes = 32;

struct StorageType {
  std::string_view name;
  at::ScalarType type;
};
constexpr StorageType kStorageTypes[] = {{"torch.FloatStorage", at::kFloat},       {"torch.DoubleStorage", at::kDouble},
                                         {"torch.HalfStorage", at::kHalf},         {"torch.LongStorage", at::kLong},
                                         {"torch.BFloat16Storage", at::kBFloat16}, {"torch.IntStorage", at::kInt},
                                         {"torch.ShortStorage", at::kShort},       {"torch.CharStorage", at::kChar},
                                         {"torch.ByteStorage", at::kByte},         {"torch.BoolStorage", at::kBool}};

bool is_legacy(std::string_view head) {
  return head.starts_with('\x80') && head.substr(0, kHeadBytes).find(kLegacyMagic) != std::string_view::npos;
}

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

/// Makes the tensors that a pickle describes, reading each storage once.
class TensorReader {
 public:
  TensorReader(const ZipArchive& archive, std::string folder, uint64_t file_bytes)
      : archive_(archive), folder_(std::move(folder)), file_bytes_(file_bytes), room_(file_bytes) {}

  Tensor read(const PickleValue& value) {
    if (value.items[0]->kind != Kind::kStorage || value.items[1]->kind != Kind::kInteger) {
      throw FormatError("a tensor has no data");
    }
    const Tensor& storage = this->storage(*value.items[0]);
    const int64_t offset = value.items[1]->integer;
    const std::vector<int64_t> sizes = integers(*value.items[2]);
    const std::vector<int64_t> strides = integers(*value.items[3]);
    const int64_t count = element_count(sizes, static_cast<int64_t>(storage.element_size()));
    if (sizes.size() != strides.size() || offset < 0) throw FormatError("a tensor's strides do not fit its shape");
    if (count == 0) return at::empty(sizes, storage.options());
    // Strides of 0 can make any shape from one element; nobody could copy it.
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
    return storage.as_strided(sizes, strides, offset);
  }

 private:
  /// All elements of a storage, [n].
  const Tensor& storage(const PickleValue& value) {
    const std::string_view type_name = value.items[1]->text;
    const std::string key(value.items[2]->text);
    const int64_t count = value.items[4]->integer;
    const auto* type = std::find_if(std::begin(kStorageTypes), std::end(kStorageTypes),
                                    [&](const StorageType& known) { return known.name == type_name; });
    if (type == std::end(kStorageTypes)) {
      throw FormatError("a tensor has the type " + printable(type_name) + ", which is not supported");
    }
    if (const auto found = storages_.find(key); found != storages_.end()) {
      if (found->second.scalar_type() != type->type || found->second.numel() != count) {
        throw FormatError("the data " + printable(key) + " has two types or sizes");
      }
      return found->second;
    }

    const std::string name = folder_ + "/data/" + key;
    const uint64_t bytes = archive_.entry(name).size;
    const uint64_t item_size = at::elementSize(type->type);
    if (count < 0 || bytes % item_size != 0 || bytes / item_size != static_cast<uint64_t>(count)) {
      throw FormatError("the zip entry " + printable(name) + " has another size than its tensors");
    }
    if (bytes > room_) throw FormatError("its tensors need more bytes than the file has");
    room_ -= bytes;
    Tensor data = at::empty({count}, at::TensorOptions().dtype(type->type));
    archive_.read(name, data.mutable_data_ptr());
    if (type->type == at::kBool) check_booleans(data.const_data_ptr(), bytes);
    return storages_.emplace(key, std::move(data)).first->second;
  }

  const ZipArchive& archive_;
  std::string folder_;
  uint64_t file_bytes_;
  uint64_t room_;  // bytes that storages may still take: entries that overlap could ask for any amount
  std::map<std::string, Tensor> storages_;
};

/// The last value under `key`, as Python's dict keeps it.
const PickleValue* find(const PickleValue& dict, std::string_view key) {
  for (size_t i = dict.items.size(); i >= 2; i -= 2) {
    if (dict.items[i - 2]->is_string(key)) return dict.items[i - 1];
  }
  return nullptr;
}

const PickleValue& find_state_dict(const PickleValue& root) {
  const PickleValue* state = &root;
  if (root.kind == Kind::kDict) {
    for (const char* key : {"model", "state_dict"}) {
      const PickleValue* value = find(root, key);
      if (value == nullptr || value->kind == Kind::kTensor) continue;
      state = value;
      break;
    }
  }
  if (state->kind == Kind::kOther) {
    throw FormatError("it holds an object of " + printable(state->text) +
                      ", not a state dict; save the model's state_dict() with torch.save instead");
  }
  if (state->kind != Kind::kDict) throw FormatError("it holds no state dict");
  return *state;
}

std::string tensor_name(const PickleValue& key) {
  if (key.kind != Kind::kString) throw FormatError("its state dict has a name that is no string");
  return std::string(key.text);
}

/// Drops the prefix that DataParallel puts before every name.
void strip_module(State& state) {
  constexpr std::string_view kPrefix = "module.";
  const bool wrapped = std::all_of(state.tensors.begin(), state.tensors.end(),
                                   [&](const auto& named) { return named.first.starts_with(kPrefix); });
  if (!wrapped) return;
  for (auto& [name, tensor] : state.tensors) name.erase(0, kPrefix.size());
}

State read(InputFile& file) {
  std::string head(std::min<uint64_t>(file.size(), kHeadBytes), '\0');
  file.read(0, head.data(), head.size());
  if (is_legacy(head)) {
    throw FormatError("it has the format from before PyTorch 1.6; load it there and save it again with torch.save");
  }
  if (!head.starts_with("PK")) throw FormatError("it is not a checkpoint of torch.save");

  const ZipArchive archive(file);
  const std::string folder = find_folder(archive);
  if (archive.entries().contains(folder + "/byteorder") && archive.read(folder + "/byteorder", 16) != "little") {
    throw FormatError("it was saved on a big-endian machine; load it there and save it as safetensors");
  }
  const std::string bytes = archive.read(folder + "/data.pkl", kMaxPickleBytes);
  const Pickle pickle(bytes);
  const PickleValue& dict = find_state_dict(pickle.root());

  State state;
  TensorReader reader(archive, folder, file.size());
  std::set<std::string> names;
  for (size_t i = 0; i < dict.items.size(); i += 2) {
    const PickleValue& value = *dict.items[i + 1];
    const std::string name = tensor_name(*dict.items[i]);
    if (!names.insert(name).second) throw FormatError("the name " + printable(name) + " comes twice");
    if (value.kind == Kind::kOther && value.text != "float") {
      throw FormatError(printable(name) + " is an object of " + printable(value.text) + " where a tensor should be");
    }
    if (value.kind != Kind::kTensor) continue;
    if (state.tensors.size() == kMaxTensors) throw FormatError("it has too many tensors");
    try {
      state.tensors.emplace_back(name, reader.read(value));
    } catch (const FormatError& error) {
      throw FormatError(printable(name) + ": " + error.what());
    }
  }
  if (state.tensors.empty()) {
    throw FormatError("it holds no tensors at its top, under \"model\" or under \"state_dict\"");
  }
  strip_module(state);
  return state;
}

}  // namespace

bool is_pth(std::string_view head) { return head.starts_with("PK") || is_legacy(head); }

State read_pth(const std::string& path) {
  InputFile file(path);
  try {
    return read(file);
  } catch (const FormatError& error) {
    corrupt(path, error.what());
  }
}

}  // namespace soundspot::checkpoint
