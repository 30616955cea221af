// A whole .pth file.
#include "checkpoint/pth.h"

#include "state.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  soundspot::fuzz::read_file(soundspot::fuzz::text(data, bytes), soundspot::checkpoint::read_pth);
  return 0;
}
