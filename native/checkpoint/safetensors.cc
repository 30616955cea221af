#include "checkpoint/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <set>

#include "checkpoint/checksum.h"
#include "checkpoint/file.h"
#include "checkpoint/format.h"
#include "checkpoint/json.h"
#include "core/error.h"
#include "core/threads.h"

namespace soundspot::checkpoint {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr uint64_t kLengthBytes = 8;               // the header's length, before it
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr size_t kMaxMetadata = 100'000;           // entries
constexpr const char* kMetadata = "__metadata__";
constexpr const char* kChecksum = "soundspot.checksum";  // in the metadata, over everything else

struct Dtype {
  const char* name;
  at::ScalarType type;
};
constexpr Dtype kDtypes[] = {{"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf},  {"BF16", at::kBFloat16},
                             {"I64", at::kLong},   {"I32", at::kInt},   {"I16", at::kShort}, {"I8", at::kChar},
                             {"U8", at::kByte},    {"BOOL", at::kBool}};

/// One tensor of the header; `begin` and `end` count bytes from the end of the header.
struct Entry {
  std::string name;
  at::ScalarType type;
  std::vector<int64_t> sizes;
  int64_t begin;
  int64_t end;
};

const char* dtype_name(const std::string& name, const Tensor& tensor) {
  if (tensor.defined() && tensor.layout() == at::kStrided) {
    for (const Dtype& dtype : kDtypes) {
      if (dtype.type == tensor.scalar_type()) return dtype.name;
    }
  }
  throw Error("ERR_INPUT",
              "The tensor " + printable(name) + " has a dtype or layout that safetensors files cannot hold.");
}

void check_text(std::string_view text) {
  if (!is_utf8(text)) throw Error("ERR_INPUT", "The text " + printable(text) + " is not UTF-8.");
}

/// The order of the tensors' bytes: larger items first: each then begins at a multiple of its item size.
std::vector<size_t> data_order(const State& state) {
  std::vector<size_t> order(state.tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return state.tensors[a].second.element_size() > state.tensors[b].second.element_size();
  });
  return order;
}

/// @throws Error ERR_INPUT for values that the format cannot hold.
void check_content(const State& state) {
  std::set<std::string> names{kMetadata};
  for (const auto& [name, tensor] : state.tensors) {
    check_text(name);
    dtype_name(name, tensor);
    if (!names.insert(name).second) throw Error("ERR_INPUT", "Two tensors have the name " + printable(name) + ".");
  }
  for (const auto& [key, value] : state.metadata) {
    check_text(key);
    check_text(value);
  }
}

std::string format_header(const State& state) {
  std::vector<int64_t> begins(state.tensors.size());
  int64_t offset = 0;
  for (const size_t i : data_order(state)) {
    begins[i] = offset;
    offset += static_cast<int64_t>(state.tensors[i].second.nbytes());
  }

  std::string header;
  const auto next_key = [&](std::string_view key) {
    header += header.empty() ? "{" : ",";
    append_json_string(header, key);
    header += ":";
  };
  next_key(kMetadata);
  std::string separator = "{";
  for (const auto& [key, value] : state.metadata) {
    header += std::exchange(separator, ",");
    append_json_string(header, key);
    header += ":";
    append_json_string(header, value);
  }
  header += "}";
  for (size_t i = 0; i < state.tensors.size(); ++i) {
    const auto& [name, tensor] = state.tensors[i];
    next_key(name);
    header += std::string("{\"dtype\":\"") + dtype_name(name, tensor) + "\",\"shape\":[";
    for (int64_t d = 0; d < tensor.dim(); ++d) header += (d > 0 ? "," : "") + std::to_string(tensor.size(d));
    header += "],\"data_offsets\":[" + std::to_string(begins[i]) + "," +
              std::to_string(begins[i] + static_cast<int64_t>(tensor.nbytes())) + "]}";
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  if (header.size() > kMaxHeaderBytes || state.tensors.size() > kMaxTensors || state.metadata.size() > kMaxMetadata) {
    throw Error("ERR_INPUT", "The tensors' names and the metadata are too large for a safetensors header.");
  }
  return header;
}

Entry read_entry(JsonReader& json, const std::string& name) {
  Entry entry{name, at::kFloat, {}, 0, 0};
  std::string dtype;
  std::vector<int64_t> offsets;
  std::set<std::string> fields;
  json.object([&](const std::string& field) {
    fields.insert(field);
    if (field == "dtype") {
      dtype = json.string();
    } else if (field == "shape") {
      json.array([&] {
        entry.sizes.push_back(json.integer());
        if (entry.sizes.size() > kMaxRank)
          throw FormatError("the tensor " + printable(name) + " has too many dimensions");
      });
    } else if (field == "data_offsets") {
      json.array([&] {
        offsets.push_back(json.integer());
        if (offsets.size() > 2) throw FormatError("the tensor " + printable(name) + " has more than two offsets");
      });
    } else {
      throw FormatError("the tensor " + printable(name) + " has an unknown field " + printable(field));
    }
  });
  if (fields.size() != 3 || offsets.size() != 2) {
    throw FormatError("the tensor " + printable(name) + " lacks its dtype, shape or offsets");
  }
  const auto* known =
      std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const Dtype& d) { return dtype == d.name; });
  if (known == std::end(kDtypes)) {
    throw FormatError("the tensor " + printable(name) + " has the dtype " + printable(dtype) +
                      ", which is not supported");
  }
  entry.type = known->type;
  entry.begin = offsets[0];
  entry.end = offsets[1];
  const auto item_size = static_cast<int64_t>(at::elementSize(entry.type));
  if (entry.end < entry.begin || entry.end - entry.begin != element_count(entry.sizes, item_size) * item_size) {
    throw FormatError("the offsets of the tensor " + printable(name) + " do not fit its shape");
  }
  return entry;
}

std::vector<Entry> read_header(const std::string& text, State& state) {
  std::vector<Entry> entries;
  JsonReader json(text);
  json.object([&](const std::string& key) {
    if (key == kMetadata) {
      json.object([&](const std::string& name) {
        if (state.metadata.size() == kMaxMetadata)
          throw FormatError("its metadata has more than " + std::to_string(kMaxMetadata) + " entries");
        state.metadata[name] = json.string();
      });
      return;
    }
    if (entries.size() == kMaxTensors)
      throw FormatError("it names more than " + std::to_string(kMaxTensors) + " tensors");
    entries.push_back(read_entry(json, key));
  });
  json.finish();
  return entries;
}

/// The tensors must fill the data from its first byte to its last, each byte in one tensor.
void check_layout(const std::vector<Entry>& entries, uint64_t data_bytes) {
  std::vector<const Entry*> sorted;
  for (const Entry& entry : entries) sorted.push_back(&entry);
  std::sort(sorted.begin(), sorted.end(),
            [](const Entry* a, const Entry* b) { return std::pair(a->begin, a->end) < std::pair(b->begin, b->end); });
  int64_t end = 0;
  for (const Entry* entry : sorted) {
    if (entry->begin != end) {
      throw FormatError("there is a gap or an overlap before the tensor " + printable(entry->name));
    }
    end = entry->end;
  }
  if (static_cast<uint64_t>(end) != data_bytes) {
    throw FormatError("it holds " + std::to_string(data_bytes) + " bytes of tensors where its header names " +
                      std::to_string(end));
  }
}

/// Takes the checksum out of the metadata. A file of another writer has none.
/// @throws FormatError when it is not that of the rest.
void verify_checksum(State& state) {
  const FormatError damaged(
      "its content does not match its checksum: it was damaged after it was written (or changed by a program "
      "that kept " +
      std::string(kChecksum) + " in the metadata)");
  if (const auto stored = state.metadata.extract(kChecksum)) {
    if (stored.mapped() != checksum(state)) throw damaged;
    return;
  }
  // Damage to the key itself leaves the right checksum under another one.
  const auto is_checksum = [](const auto& entry) { return entry.second.starts_with(kChecksumPrefix); };
  if (std::count_if(state.metadata.begin(), state.metadata.end(), is_checksum) != 1) return;
  auto entry = state.metadata.extract(std::find_if(state.metadata.begin(), state.metadata.end(), is_checksum));
  if (entry.mapped() == checksum(state)) throw damaged;
  state.metadata.insert(std::move(entry));
}

State read(InputFile& file) {
  uint64_t length = 0;
  if (file.size() < kLengthBytes) throw FormatError("it is too short to be a safetensors file");
  file.read(0, &length, kLengthBytes);
  if (length > kMaxHeaderBytes || length > file.size() - kLengthBytes) {
    throw FormatError("it is cut off, or not a safetensors file (its header would have " + std::to_string(length) +
                      " bytes)");
  }
  std::string header(length, '\0');
  file.read(kLengthBytes, header.data(), length);
  if (header.empty() || header[0] != '{') throw FormatError("it is not a safetensors file (no JSON header)");

  State state;
  const std::vector<Entry> entries = read_header(header, state);
  const uint64_t data_start = kLengthBytes + length;
  check_layout(entries, file.size() - data_start);
  state.tensors.resize(entries.size());
  core::share_out(static_cast<int64_t>(entries.size()), file.size(), [&](int64_t i) {
    const Entry& entry = entries[static_cast<size_t>(i)];
    const auto bytes = static_cast<uint64_t>(entry.end - entry.begin);
    const Tensor tensor = at::empty(entry.sizes, at::TensorOptions().dtype(entry.type));
    if (bytes > 0) file.read(data_start + static_cast<uint64_t>(entry.begin), tensor.mutable_data_ptr(), bytes);
    if (entry.type == at::kBool) check_booleans(tensor.const_data_ptr(), bytes);
    state.tensors[static_cast<size_t>(i)] = {entry.name, tensor};
  });
  verify_checksum(state);
  return state;
}

}  // namespace

void write_safetensors(const std::string& path, State state) {
  check_content(state);
  for (auto& [name, tensor] : state.tensors) tensor = tensor.detach().cpu().contiguous();
  state.metadata.erase(kChecksum);
  state.metadata[kChecksum] = checksum(state);
  const std::string header = format_header(state);
  const uint64_t length = header.size();
  OutputFile file(path);
  file.write(&length, kLengthBytes);
  file.write(header.data(), length);
  for (const size_t i : data_order(state)) {
    const Tensor& tensor = state.tensors[i].second;
    file.write(tensor.const_data_ptr(), tensor.nbytes());
  }
  file.commit();
}

State read_safetensors(const std::string& path) {
  InputFile file(path);
  try {
    return read(file);
  } catch (const FormatError& error) {
    corrupt(path, error.what());
  }
}

}  // namespace soundspot::checkpoint
