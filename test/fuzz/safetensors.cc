// A whole safetensors file. The mutator keeps the header's length right in most inputs, else nearly all would end
// there.
#include "checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>

#include "state.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t bytes, size_t room);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t bytes, size_t room, unsigned seed) {
  constexpr size_t kLengthBytes = 8;
  uint64_t length = 0;
  if (bytes >= kLengthBytes) std::memcpy(&length, data, kLengthBytes);
  if (seed % 4 == 0 || bytes < kLengthBytes || length > bytes - kLengthBytes) {
    return LLVMFuzzerMutate(data, bytes, room);
  }
  const std::string tensors(data + kLengthBytes + length, data + bytes);
  if (tensors.size() + kLengthBytes >= room) return LLVMFuzzerMutate(data, bytes, room);
  length = LLVMFuzzerMutate(data + kLengthBytes, length, room - kLengthBytes - tensors.size());
  std::memcpy(data, &length, kLengthBytes);
  std::copy(tensors.begin(), tensors.end(), data + kLengthBytes + length);
  return kLengthBytes + length + tensors.size();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  soundspot::fuzz::read_file(soundspot::fuzz::text(data, bytes), soundspot::checkpoint::read_safetensors);
  return 0;
}
