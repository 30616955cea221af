#include "checkpoint/checksum.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "checkpoint/json.h"
#include "core/threads.h"

namespace soundspot::checkpoint {
namespace {

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87;
constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4F;
constexpr uint64_t kPrime3 = 0x165667B19E3779F9;
constexpr uint64_t kPrime4 = 0x85EBCA77C2B2AE63;
constexpr uint64_t kPrime5 = 0x27D4EB2F165667C5;

template <typename T>
uint64_t load(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

uint64_t add_round(uint64_t lane, uint64_t word) { return std::rotl(lane + word * kPrime2, 31) * kPrime1; }

std::string hexadecimal(uint64_t value) {
  std::string digits(16, '0');
  for (size_t i = 16; i-- > 0; value >>= 4) digits[i] = "0123456789abcdef"[value & 15];
  return digits;
}

}  // namespace

uint64_t xxh64(std::string_view bytes) {
  const char* next = bytes.data();
  const char* const end = next + bytes.size();
  uint64_t hash = kPrime5;
  if (bytes.size() >= 32) {
    uint64_t lanes[4] = {kPrime1 + kPrime2, kPrime2, 0, -kPrime1};
    for (; end - next >= 32; next += 32) {
      for (int i = 0; i < 4; ++i) lanes[i] = add_round(lanes[i], load<uint64_t>(next + 8 * i));
    }
    hash = std::rotl(lanes[0], 1) + std::rotl(lanes[1], 7) + std::rotl(lanes[2], 12) + std::rotl(lanes[3], 18);
    for (const uint64_t lane : lanes) hash = (hash ^ add_round(0, lane)) * kPrime1 + kPrime4;
  }
  hash += bytes.size();
  for (; end - next >= 8; next += 8) {
    hash = std::rotl(hash ^ add_round(0, load<uint64_t>(next)), 27) * kPrime1 + kPrime4;
  }
  if (end - next >= 4) {
    hash = std::rotl(hash ^ load<uint32_t>(next) * kPrime1, 23) * kPrime2 + kPrime3;
    next += 4;
  }
  for (; next < end; ++next) hash = std::rotl(hash ^ load<uint8_t>(next) * kPrime5, 11) * kPrime1;
  hash = (hash ^ hash >> 33) * kPrime2;
  hash = (hash ^ hash >> 29) * kPrime3;
  return hash ^ hash >> 32;
}

std::string checksum(const State& state) {
  std::vector<std::string> parts;
  for (const auto& [key, value] : state.metadata) {
    std::string& part = parts.emplace_back("text ");
    append_json_string(part, key);
    append_json_string(part, value);
  }
  const size_t texts = parts.size();
  parts.resize(texts + state.tensors.size());
  uint64_t all_bytes = 0;
  for (const auto& [name, tensor] : state.tensors) all_bytes += tensor.nbytes();
  core::share_out(static_cast<int64_t>(state.tensors.size()), all_bytes, [&](int64_t i) {
    const auto& [name, tensor] = state.tensors[static_cast<size_t>(i)];
    std::string part = "tensor ";
    append_json_string(part, name);
    part += c10::toString(tensor.scalar_type());
    for (const int64_t size : tensor.sizes()) part.append(",").append(std::to_string(size));
    const std::string_view bytes(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
    parts[texts + static_cast<size_t>(i)] = part.append(":").append(hexadecimal(xxh64(bytes)));
  });
  std::sort(parts.begin(), parts.end());
  std::string all;
  for (const std::string& part : parts) all += part + "\n";
  return kChecksumPrefix + hexadecimal(xxh64(all));
}

}  // namespace soundspot::checkpoint
