#include "store/sample_store.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string_view>
#include <type_traits>

#include "checkpoint/checksum.h"
#include "checkpoint/format.h"
#include "core/error.h"

namespace soundspot::store {
namespace {

/// One sample in an index, as it lies in the file.
struct Entry {
  uint32_t index = 0, height = 0, width = 0, zero = 0;
  uint64_t offset = 0;                   // of its pixels in the data; the spectrogram follows them
  uint64_t pixels = 0, spectrogram = 0;  // XXH64 of each
  uint64_t own = 0;                      // XXH64 of what stands before
};

static_assert(std::is_trivially_copyable_v<Entry> && sizeof(Entry) == 48, "its bytes are the file's");

constexpr uint64_t kEntry = sizeof(Entry);
constexpr uint32_t kMostSide = 65535;

uint64_t checksum_of(const void* data, uint64_t bytes) {
  return checkpoint::xxh64(std::string_view(static_cast<const char*>(data), bytes));
}

uint64_t checksum_of(const Entry& entry) { return checksum_of(&entry, offsetof(Entry, own)); }

std::filesystem::path from_utf8(const std::string& path) {
  return std::filesystem::path(std::u8string(path.begin(), path.end()));
}

/// In bytes; 0 where there is no file.
uint64_t size_of(const std::string& path) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(from_utf8(path), error);
  return error ? 0 : size;
}

bool exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(from_utf8(path), error);
}

/// The path of an index, without the half of an entry that a killed process may have left at its end.
const std::string& whole_entries(const std::string& path) {
  const uint64_t size = size_of(path);
  std::error_code error;
  if (size % kEntry != 0) std::filesystem::resize_file(from_utf8(path), size - size % kEntry, error);
  if (error) throw Error("ERR_FILE_WRITE", path + " cannot be written: " + error.message() + ".");
  return path;
}

}  // namespace

SampleStore::SampleStore(const std::string& folder, int64_t own, int64_t samples, int64_t rows, int64_t frames)
    : folder_(folder),
      own_(static_cast<size_t>(own)),
      rows_(rows),
      frames_(frames),
      places_(static_cast<size_t>(samples)),
      data_(path_of(own_, "data")),
      index_(whole_entries(path_of(own_, "index"))) {
  refresh();
}

std::string SampleStore::path_of(size_t part, const char* ending) const {
  return folder_ + "/part-" + std::to_string(part) + "." + ending;
}

uint64_t SampleStore::bytes_of(const Place& place) const {
  return uint64_t{3} * place.height * place.width + sizeof(float) * static_cast<uint64_t>(rows_ * frames_);
}

bool SampleStore::has(int64_t index) const { return place_of(index).height > 0; }

void SampleStore::refresh() {
  const std::lock_guard lock(mutex_);
  for (size_t part = 0; part <= own_ || exists(path_of(part, "index")); ++part) {
    if (part == parts_.size()) parts_.emplace_back();
    take_entries(part);
  }
}

void SampleStore::take_entries(size_t part) {
  uint64_t& taken = parts_[part].taken;
  const std::string path = path_of(part, "index");
  const uint64_t size = size_of(path);
  const uint64_t count = size < taken ? 0 : (size - taken) / kEntry;
  if (count == 0) return;
  std::vector<Entry> entries(count);
  try {
    checkpoint::InputFile(path).read(taken, entries.data(), count * kEntry);
  } catch (const std::exception&) {
    return;  // what cannot be read is not there
  }
  taken += count * kEntry;
  for (const Entry& entry : entries) {
    const bool whole = entry.own == checksum_of(entry) && entry.index < places_.size() && entry.height > 0 &&
                       entry.width > 0 && entry.height <= kMostSide && entry.width <= kMostSide;
    if (!whole) continue;
    put(entry.index,
        {static_cast<uint32_t>(part), entry.height, entry.width, entry.offset, entry.pixels, entry.spectrogram});
  }
}

void SampleStore::put(int64_t index, const Place& place) {
  Place& kept = places_[static_cast<size_t>(index)];
  if (kept.height > 0) {
    --status_.samples;
    status_.bytes -= bytes_of(kept);
    replaced_.emplace(index, kept);
  }
  kept = place;
  ++status_.samples;
  status_.bytes += bytes_of(kept);
}

void SampleStore::forget(int64_t index, const Place& place) {
  const std::lock_guard lock(mutex_);
  Place& kept = places_[static_cast<size_t>(index)];
  if (kept.part != place.part || kept.offset != place.offset || kept.height == 0) return;
  --status_.samples;
  status_.bytes -= bytes_of(kept);
  kept = {};
  // The sample may have been written again to an earlier part.
  if (const auto other = replaced_.find(index); other != replaced_.end()) {
    const Place again = other->second;
    replaced_.erase(other);
    put(index, again);
  }
}

std::shared_ptr<checkpoint::InputFile> SampleStore::data_of(const Place& place) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<checkpoint::InputFile>& data = parts_[place.part].data;
  const uint64_t end = place.offset + bytes_of(place);
  if (end < place.offset) return nullptr;
  try {
    if (!data || data->size() < end) data = std::make_shared<checkpoint::InputFile>(path_of(place.part, "data"));
  } catch (const std::exception&) {
    return nullptr;
  }
  return data->size() < end ? nullptr : data;
}

void SampleStore::expect(int64_t index) {
  const Place place = place_of(index);
  if (place.height == 0) return;
  if (const auto data = data_of(place)) data->expect(place.offset, bytes_of(place));
}

SampleStore::Place SampleStore::place_of(int64_t index) const {
  const std::lock_guard lock(mutex_);
  return places_.at(static_cast<size_t>(index));
}

std::optional<Tensor> SampleStore::read(int64_t index, float* spectrogram) {
  for (Place place = place_of(index); place.height > 0; place = place_of(index)) {
    if (const auto data = data_of(place)) {
      const Tensor pixels = at::empty({place.height, place.width, 3}, at::kByte);
      const uint64_t image = pixels.nbytes(), rest = bytes_of(place) - image;
      void* const to = pixels.mutable_data_ptr();
      try {
        data->read(place.offset, to, image);
        data->read(place.offset + image, spectrogram, rest);
        const bool whole =
            checksum_of(to, image) == place.pixels && checksum_of(spectrogram, rest) == place.spectrogram;
        if (whole) return pixels;
      } catch (const checkpoint::FormatError&) {
        // The file became shorter.
      }
    }
    forget(index, place);
  }
  return std::nullopt;
}

void SampleStore::write(int64_t index, const Tensor& pixels, const Tensor& spectrogram) {
  const Tensor image = pixels.contiguous(), audio = spectrogram.contiguous();
  if (audio.numel() != rows_ * frames_) throw Error("ERR_INTERNAL", "A spectrogram is not of the store's shape.");
  Entry entry;
  entry.index = static_cast<uint32_t>(index);
  entry.height = static_cast<uint32_t>(image.size(0));
  entry.width = static_cast<uint32_t>(image.size(1));
  entry.pixels = checksum_of(image.const_data_ptr(), image.nbytes());
  entry.spectrogram = checksum_of(audio.const_data_ptr(), audio.nbytes());

  const std::lock_guard one_at_a_time(appending_);
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || !status_.failure.empty() || places_.at(static_cast<size_t>(index)).height > 0) return;
  }
  try {
    entry.offset = data_.size();
    entry.own = checksum_of(entry);
    data_.append(image.const_data_ptr(), image.nbytes());
    data_.append(audio.const_data_ptr(), audio.nbytes());
    index_.append(&entry, kEntry);
  } catch (const Error& error) {
    const std::lock_guard lock(mutex_);
    status_.failure = error.what();
    return;
  }
  const std::lock_guard lock(mutex_);
  parts_[own_].taken += kEntry;
  put(index, {static_cast<uint32_t>(own_), entry.height, entry.width, entry.offset, entry.pixels, entry.spectrogram});
}

void SampleStore::close() {
  const std::lock_guard lock(appending_);
  closed_ = true;
}

Status SampleStore::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

}  // namespace soundspot::store
