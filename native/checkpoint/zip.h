// The entries of a zip archive that are stored without compression, as torch.save stores them.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "checkpoint/file.h"

namespace soundspot::checkpoint {

/// One entry of the archive's central directory.
struct ZipEntry {
  uint64_t header_offset;  // of its local header, in bytes from the file's start
  uint64_t size;           // of its data, in bytes
  uint32_t crc;            // CRC-32 of its data; 0 when the writer computed none
  bool stored;             // neither compressed nor encrypted
};

/// An archive with its list of entries, zip64 included. Every method throws FormatError.
class ZipArchive {
 public:
  /// Reads the central directory. `file` must outlive the archive.
  explicit ZipArchive(InputFile& file);

  const std::map<std::string, ZipEntry>& entries() const { return entries_; }

  /// @throws FormatError when there is no such entry.
  const ZipEntry& entry(const std::string& name) const;

  /// All of the entry's data into `to`, which has room for `entry(name).size` bytes; the CRC is checked.
  void read(const std::string& name, void* to) const;
  std::string read(const std::string& name, uint64_t max_bytes) const;

 private:
  InputFile& file_;
  std::map<std::string, ZipEntry> entries_;
  uint64_t directory_offset_ = 0;  // entries end before it
};

}  // namespace soundspot::checkpoint
