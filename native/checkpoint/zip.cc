#include "checkpoint/zip.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "checkpoint/format.h"

namespace soundspot::checkpoint {
namespace {

// Sizes and signatures of the records; see APPNOTE.TXT 4.3.
constexpr uint64_t kLocalBytes = 30;
constexpr uint64_t kCentralBytes = 46;
constexpr uint64_t kEndBytes = 22;
constexpr uint64_t kEnd64Bytes = 56;
constexpr uint64_t kLocatorBytes = 20;
constexpr uint64_t kMaxCommentBytes = 0xffff;
constexpr uint64_t kMaxDirectoryBytes = 100'000'000;
constexpr uint16_t kZip64Field = 1;

// Little-endian numbers inside a record; the caller has checked that they lie within.
template <typename T>
T number(std::string_view record, size_t at) {
  T value;
  std::memcpy(&value, record.data() + at, sizeof value);
  return value;
}

std::string read_bytes(InputFile& file, uint64_t offset, uint64_t bytes) {
  std::string data(bytes, '\0');
  file.read(offset, data.data(), bytes);
  return data;
}

/// CRC-32 (IEEE, reflected), eight bytes per step.
uint32_t crc32(const void* data, uint64_t bytes) {
  static const auto kTables = [] {
    std::array<std::array<uint32_t, 256>, 8> tables{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
      tables[0][i] = value;
    }
    for (size_t k = 1; k < 8; ++k) {
      for (size_t i = 0; i < 256; ++i) tables[k][i] = tables[k - 1][i] >> 8 ^ tables[0][tables[k - 1][i] & 0xff];
    }
    return tables;
  }();
  const auto* next = static_cast<const unsigned char*>(data);
  uint32_t crc = 0xffffffff;
  for (; bytes >= 8; bytes -= 8, next += 8) {
    uint64_t word;
    std::memcpy(&word, next, 8);
    word ^= crc;
    crc = 0;
    for (size_t k = 0; k < 8; ++k) crc ^= kTables[7 - k][word >> (8 * k) & 0xff];
  }
  for (; bytes > 0; --bytes, ++next) crc = crc >> 8 ^ kTables[0][(crc ^ *next) & 0xff];
  return ~crc;
}

/// Where the central directory lies.
struct Directory {
  uint64_t offset;
  uint64_t bytes;
  uint64_t entries;
};

Directory find_directory(InputFile& file) {
  const uint64_t tail_bytes = std::min(file.size(), kEndBytes + kMaxCommentBytes);
  const uint64_t tail_offset = file.size() - tail_bytes;
  const std::string tail = read_bytes(file, tail_offset, tail_bytes);
  for (size_t at = tail.rfind("PK\5\6"); at != std::string::npos;
       at = at > 0 ? tail.rfind("PK\5\6", at - 1) : tail.npos) {
    const std::string_view end = std::string_view(tail).substr(at);
    if (end.size() < kEndBytes || kEndBytes + number<uint16_t>(end, 20) != end.size()) continue;
    const uint64_t end_offset = tail_offset + at;
    if (end_offset >= kLocatorBytes) {
      const std::string locator = read_bytes(file, end_offset - kLocatorBytes, kLocatorBytes);
      if (locator.starts_with("PK\6\7")) {
        const std::string end64 = read_bytes(file, number<uint64_t>(locator, 8), kEnd64Bytes);
        if (!end64.starts_with("PK\6\6")) throw FormatError("its zip64 directory is damaged");
        return {number<uint64_t>(end64, 48), number<uint64_t>(end64, 40), number<uint64_t>(end64, 32)};
      }
    }
    return {number<uint32_t>(end, 16), number<uint32_t>(end, 12), number<uint16_t>(end, 10)};
  }
  throw FormatError("it is cut off: the zip archive has no end");
}

/// Replaces the numbers that are all ones by those of the zip64 field, in the order that the format gives.
void apply_zip64(std::string_view extra, uint64_t& size, uint64_t& stored_size, uint64_t& offset) {
  constexpr uint64_t kOnes = 0xffffffff;
  if (size != kOnes && stored_size != kOnes && offset != kOnes) return;
  while (extra.size() >= 4) {
    const size_t bytes = number<uint16_t>(extra, 2);
    if (bytes > extra.size() - 4) break;
    std::string_view field = extra.substr(4, bytes);
    if (number<uint16_t>(extra, 0) == kZip64Field) {
      for (uint64_t* value : {&size, &stored_size, &offset}) {
        if (*value != kOnes) continue;
        if (field.size() < 8) throw FormatError("the zip directory has a damaged zip64 field");
        *value = number<uint64_t>(field, 0);
        field.remove_prefix(8);
      }
      return;
    }
    extra.remove_prefix(4 + bytes);
  }
}

}  // namespace

ZipArchive::ZipArchive(InputFile& file) : file_(file) {
  const Directory directory = find_directory(file);
  if (directory.bytes > kMaxDirectoryBytes || directory.entries > directory.bytes / kCentralBytes) {
    throw FormatError("the zip directory has an impossible size");
  }
  if (directory.offset > file.size() || directory.bytes > file.size() - directory.offset) {
    throw FormatError("the zip directory lies outside the file");
  }
  directory_offset_ = directory.offset;
  const std::string bytes = read_bytes(file, directory.offset, directory.bytes);
  std::string_view rest = bytes;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    if (rest.size() < kCentralBytes || !rest.starts_with("PK\1\2")) throw FormatError("the zip directory is damaged");
    const size_t name_bytes = number<uint16_t>(rest, 28);
    const size_t extra_bytes = number<uint16_t>(rest, 30);
    const size_t record_bytes = kCentralBytes + name_bytes + extra_bytes + number<uint16_t>(rest, 32);
    if (record_bytes > rest.size()) throw FormatError("the zip directory is damaged");

    uint64_t stored_size = number<uint32_t>(rest, 20);
    ZipEntry entry{number<uint32_t>(rest, 42), number<uint32_t>(rest, 24), number<uint32_t>(rest, 16), false};
    apply_zip64(rest.substr(kCentralBytes + name_bytes, extra_bytes), entry.size, stored_size, entry.header_offset);
    const bool encrypted = (number<uint16_t>(rest, 8) & 1) != 0;
    entry.stored = !encrypted && number<uint16_t>(rest, 10) == 0;
    if (entry.stored && stored_size != entry.size) throw FormatError("the zip directory gives an entry two sizes");
    const std::string_view name = rest.substr(kCentralBytes, name_bytes);
    if (!entries_.emplace(name, entry).second) throw FormatError("the zip entry " + printable(name) + " comes twice");
    rest.remove_prefix(record_bytes);
  }
}

const ZipEntry& ZipArchive::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) throw FormatError("the archive has no entry " + printable(name));
  return found->second;
}

void ZipArchive::read(const std::string& name, void* to) const {
  const ZipEntry& entry = this->entry(name);
  if (!entry.stored) {
    throw FormatError(
        "the zip entry " + printable(name) +
        " is compressed or encrypted, which torch.save never does; unpack it and save it with torch.save");
  }
  const FormatError outside("the zip entry " + printable(name) + " lies outside the file's data");
  if (entry.header_offset > directory_offset_ || directory_offset_ - entry.header_offset < kLocalBytes) throw outside;
  const std::string local = read_bytes(file_, entry.header_offset, kLocalBytes);
  if (!local.starts_with("PK\3\4")) throw FormatError("the zip entry " + printable(name) + " has a damaged header");
  const uint64_t name_bytes = number<uint16_t>(local, 26);
  const uint64_t header_bytes = kLocalBytes + name_bytes + number<uint16_t>(local, 28);
  const uint64_t room = directory_offset_ - entry.header_offset;
  if (header_bytes > room || entry.size > room - header_bytes) throw outside;
  if (read_bytes(file_, entry.header_offset + kLocalBytes, name_bytes) != name) {
    throw FormatError("the zip entry " + printable(name) + " has another name in its header");
  }
  if (entry.size > 0) file_.read(entry.header_offset + header_bytes, to, entry.size);
  if (entry.crc != 0 && crc32(to, entry.size) != entry.crc) {
    throw FormatError("the zip entry " + printable(name) + " does not match its checksum");
  }
}

std::string ZipArchive::read(const std::string& name, uint64_t max_bytes) const {
  const uint64_t size = entry(name).size;
  if (size > max_bytes || size > file_.size()) throw FormatError("the zip entry " + printable(name) + " is too large");
  std::string data(size, '\0');
  read(name, data.data());
  return data;
}

}  // namespace soundspot::checkpoint
