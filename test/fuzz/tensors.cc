// The tensors of a .pth: the input is the pickle, put into an archive beside two storages, as zip.cc and the checksum
// of a whole archive would keep most mutations away from it.
#include <cstring>

#include "checkpoint/pth.h"
#include "state.h"

namespace {

template <typename T>
void append(std::string& out, T number) {
  out.append(reinterpret_cast<const char*>(&number), sizeof number);
}

/// Stored entries without checksum, which the format's readers take for "none".
class Archive {
 public:
  void add(std::string_view name, std::string_view data) {
    const auto offset = static_cast<uint32_t>(bytes_.size());
    std::string fields;                                                   // what the local and the central header share
    for (const uint16_t field : {20, 0, 0, 0, 0}) append(fields, field);  // version, flags, method, time, date
    for (const size_t field : {size_t{0}, data.size(), data.size()}) append(fields, static_cast<uint32_t>(field));
    append(fields, static_cast<uint16_t>(name.size()));
    append(fields, uint16_t{0});
    (bytes_ += "PK\3\4" + fields).append(name).append(data);
    (directory_ += std::string("PK\1\2\x14\0", 6) + fields).append(10, '\0');  // comment, disk, attributes
    append(directory_, offset);
    directory_.append(name);
    ++entries_;
  }

  std::string finish() {
    const auto offset = static_cast<uint32_t>(bytes_.size());
    (bytes_ += directory_ + "PK\5\6").append(4, '\0');
    for (int i = 0; i < 2; ++i) append(bytes_, entries_);
    append(bytes_, static_cast<uint32_t>(directory_.size()));
    append(bytes_, offset);
    append(bytes_, uint16_t{0});
    return bytes_;
  }

 private:
  std::string bytes_, directory_;
  uint16_t entries_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  Archive archive;
  archive.add("a/data.pkl", soundspot::fuzz::text(data, bytes));
  archive.add("a/data/0", std::string(64, '\1'));
  archive.add("a/data/1", std::string(8, '\1'));
  soundspot::fuzz::read_file(archive.finish(), soundspot::checkpoint::read_pth);
  return 0;
}
