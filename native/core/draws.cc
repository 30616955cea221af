#include "core/draws.h"

#include <algorithm>
#include <array>

#include "core/transfer.h"

namespace soundspot::core {

namespace {

using Block = std::array<uint32_t, 4>;

/// Ten rounds of Philox4x32.
Block philox(Block counter, std::array<uint32_t, 2> key) {
  constexpr uint64_t kFirst = 0xD2511F53, kSecond = 0xCD9E8D57;
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = kFirst * counter[0], second = kSecond * counter[2];
    counter = {static_cast<uint32_t>(second >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(second),
               static_cast<uint32_t>(first >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(first)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

}  // namespace

void Draws::fill(Place place, int64_t sample, float* row, int64_t each) const {
  const std::array<uint32_t, 2> key{static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32)};
  for (int64_t i = 0; i < each; i += 4) {
    const Block bits = philox({static_cast<uint32_t>(i / 4), static_cast<uint32_t>(sample),
                               static_cast<uint32_t>(step_), static_cast<uint32_t>(place)},
                              key);
    for (int64_t j = 0; j < std::min<int64_t>(4, each - i); ++j) {
      row[i + j] = static_cast<float>(bits[static_cast<size_t>(j)] >> 8) * 0x1p-24F;
    }
  }
}

Tensor Draws::drawn(Place place, const Share& share, int64_t count, int64_t each, at::Device device) const {
  const Tensor drawn = at::empty({count, each}, at::dtype(at::kFloat).pinned_memory(device.is_cuda()));
  auto* const values = drawn.mutable_data_ptr<float>();
  for (int64_t sample = 0; sample < count; ++sample) fill(place, share.first + sample, values + sample * each, each);
  return drawn;
}

Tensor Draws::uniform(Place place, const Share& share, int64_t count, int64_t each, at::Device device) const {
  if (kept_ != nullptr) return kept_->take(*this, place, share, count, each, device);
  return to_device(drawn(place, share, count, each, device), device);
}

std::vector<float> Draws::numbers(Place place, int64_t sample, int64_t each) const {
  if (kept_ != nullptr) kept_->on_host_ = true;
  std::vector<float> values(static_cast<size_t>(each));
  fill(place, sample, values.data(), each);
  return values;
}

Tensor KeptDraws::take(const Draws& draws, Place place, const Share& share, int64_t count, int64_t each,
                       at::Device device) {
  if (next_ == all_.size()) {
    all_.push_back({place, share, to_device(draws.drawn(place, share, count, each, device), device)});
  }
  const Kept& own = all_[next_++];
  TORCH_CHECK(
      own.place == place && own.share.first == share.first && own.values.sizes() == at::IntArrayRef({count, each}),
      "a repeated step asks for other draws");
  return own.values;
}

void KeptDraws::renew(const Draws& draws) {
  for (Kept& own : all_) {
    const Tensor& values = own.values;
    values.copy_(draws.drawn(own.place, own.share, values.size(0), values.size(1), values.device()),
                 /*non_blocking=*/true);
  }
}

}  // namespace soundspot::core
