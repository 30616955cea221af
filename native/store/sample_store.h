// Decoded samples in a folder: appended once, and then read by their index.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "checkpoint/file.h"
#include "core/torch.h"

namespace soundspot::store {

/// What a store holds, and what came in its way.
struct Status {
  int64_t samples = 0;  ///< that it has
  uint64_t bytes = 0;   ///< of them
  std::string failure;  ///< why nothing is written any more; empty while all is well
};

/// The samples of one dataset: pixels `[h, w, 3]` uint8 of any size, and a spectrogram `[1, rows, frames]` float32.
///
/// The folder has parts, `part-0.data` and `part-0.index` and so on, which grow at their ends (docs/formats.md). One
/// process at a time appends to a part; the caller has locked it. All processes read all parts. An entry of an index is
/// written after its sample and has checksums of the sample and of itself: what a process that was killed left, or what
/// changed on the disk, counts as absent.
class SampleStore {
 public:
  /// @param own the part to append to; parts 0 … own − 1 are there.
  /// @param samples of the dataset.
  /// @throws Error ERR_FILE_WRITE
  SampleStore(const std::string& folder, int64_t own, int64_t samples, int64_t rows, int64_t frames);

  int64_t rows() const { return rows_; }
  int64_t frames() const { return frames_; }

  bool has(int64_t index) const;

  /// Looks for what other processes have appended.
  void refresh();

  /// The system may fetch a sample from the disk; it is read soon.
  void expect(int64_t index);

  /// Reads a sample: its pixels, and its spectrogram to `spectrogram`. None where it is absent, or not as it was
  /// written; from then on it is absent.
  std::optional<Tensor> read(int64_t index, float* spectrogram);

  /// Appends a sample, unless it is there. After a failure, such as a full disk, nothing is written any more: `status`
  /// has the reason.
  void write(int64_t index, const Tensor& pixels, const Tensor& spectrogram);

  /// Waits for a sample that is being appended. From then on nothing is written, and another process may append.
  void close();

  Status status() const;

 private:
  /// Where a sample lies.
  struct Place {
    uint32_t part = 0, height = 0, width = 0;  // height 0: nowhere
    uint64_t offset = 0;
    uint64_t pixels = 0, spectrogram = 0;  // checksums
  };
  struct Part {
    uint64_t taken = 0;                           // bytes of its index that were read
    std::shared_ptr<checkpoint::InputFile> data;  // as long as it was when it was opened
  };

  std::string path_of(size_t part, const char* ending) const;
  Place place_of(int64_t index) const;
  uint64_t bytes_of(const Place& place) const;
  /// The data of a place's part; null where it does not reach so far.
  std::shared_ptr<checkpoint::InputFile> data_of(const Place& place);
  void take_entries(size_t part);
  void put(int64_t index, const Place& place);
  void forget(int64_t index, const Place& place);

  const std::string folder_;
  const size_t own_;
  const int64_t rows_, frames_;

  mutable std::mutex mutex_;                          // of what follows
  std::vector<Place> places_;                         // by index
  std::unordered_multimap<int64_t, Place> replaced_;  // places that others took the place of
  std::vector<Part> parts_;
  Status status_;

  std::mutex appending_;  // of both files
  bool closed_ = false;
  checkpoint::AppendedFile data_, index_;
};

}  // namespace soundspot::store
