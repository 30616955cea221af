#include "checkpoint/load.h"

#include <algorithm>

#include "checkpoint/file.h"
#include "checkpoint/format.h"
#include "checkpoint/pth.h"
#include "checkpoint/safetensors.h"

namespace soundspot::checkpoint {

State read_checkpoint(const std::string& path) {
  std::string head;
  try {
    InputFile file(path);
    head.resize(std::min<uint64_t>(file.size(), kPthHeadBytes));
    file.read(0, head.data(), head.size());
  } catch (const FormatError& error) {
    corrupt(path, error.what());
  }
  return is_pth(head) ? read_pth(path) : read_safetensors(path);
}

}  // namespace soundspot::checkpoint
