// The object, the list of data and the data of a .pth from before PyTorch 1.6: the input stands behind the three
// pickles that such a file begins with, which mutations would only break.
#include "checkpoint/pth.h"
#include "state.h"

namespace {

constexpr std::string_view kHead(
    "\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."  // the magic number
    "\x80\2M\xe9\x03."                                         // version 1001
    "\x80\2}U\x0dlittle_endian\x88s.",
    15 + 6 + 21);

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  std::string file(kHead);
  file.append(soundspot::fuzz::text(data, bytes));
  soundspot::fuzz::read_file(file, soundspot::checkpoint::read_pth);
  return 0;
}
