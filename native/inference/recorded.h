// Evaluation passes that a device recorded, one for each batch size: a batch of few samples is some hundred launches,
// which take the host longer than the device.
#pragma once

#include <map>
#include <mutex>

#include "inference/engine.h"
#include "kernels/device.h"

namespace soundspot::inference {

class Recorded {
 public:
  using Pass = std::function<Inference(const Tensor& images, const Tensor& spectrograms,
                                       const methods::RespondOptions& options)>;

  /// `pass` computes on the device, on which its inputs are.
  Recorded(const kernels::DeviceKernels& kernels, at::Device device, Pass pass)
      : kernels_(kernels), device_(device), pass_(std::move(pass)) {}

  /// The pass. The first call for a size computes it, the second records it. What cannot be recorded is computed each
  /// time.
  Inference infer(const Tensor& images, const Tensor& spectrograms, const methods::RespondOptions& options);

  static constexpr int64_t kMostSamples = 64;  // of a batch; larger ones keep the device busy
  static constexpr size_t kMostPasses = 16;    // the one that was not used for longest goes
  static constexpr size_t kMostKeys = 256;

 private:
  using Key = std::pair<int64_t, double>;  // samples and sharpening
  struct Entry {
    bool seen = false, rejected = false;
    Tensor images, spectrograms;
    Inference result;
    std::unique_ptr<kernels::Recording> recording;
    int64_t used = 0;
  };

  /// Whether the entry can be replayed now.
  bool record(Entry& entry, const Tensor& images, const Tensor& spectrograms, const methods::RespondOptions& options);

  const kernels::DeviceKernels& kernels_;
  const at::Device device_;
  const Pass pass_;
  std::mutex mutex_;
  std::map<Key, Entry> entries_;
  int64_t calls_ = 0;
};

}  // namespace soundspot::inference
