// A zip archive: its directory, and the data of every entry.
#include "checkpoint/zip.h"

#include "checkpoint/format.h"
#include "target.h"

using soundspot::checkpoint::FormatError;
using soundspot::fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  if (bytes == 0) return 0;
  soundspot::checkpoint::InputFile file(soundspot::fuzz::file_of(soundspot::fuzz::text(data, bytes)));
  try {
    const soundspot::checkpoint::ZipArchive archive(file);
    for (const auto& [name, entry] : archive.entries()) {
      try {
        require(archive.read(name, bytes).size() == entry.size);
      } catch (const FormatError&) {
      }
    }
  } catch (const FormatError&) {
  }
  return 0;
}
