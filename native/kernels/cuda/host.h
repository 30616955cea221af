// Runs kernels on the host, block by block, for tests: the same source as on the GPU, without one.
#pragma once

#include <vector>

#include "kernels/cuda/block.h"

namespace soundspot::kernels::cuda {

/// Runs threads and blocks from the last to the first. No kernel may depend on their order within a phase.
inline bool host_backwards = false;

class HostBlock {
 public:
  HostBlock(int threads, int64_t x, int64_t y, const Grid& grid, std::vector<double>& shared)
      : threads_(threads), x_(x), y_(y), grid_(grid), shared_(shared) {}

  template <class T>
  class Local {
   public:
    explicit Local(const HostBlock& block) : values_(static_cast<size_t>(block.threads())) {}
    T& operator[](int thread) { return values_[static_cast<size_t>(thread)]; }

   private:
    std::vector<T> values_;
  };

  int threads() const { return threads_; }
  int64_t x() const { return x_; }
  int64_t y() const { return y_; }
  int64_t blocks_x() const { return grid_.x; }
  int64_t blocks_y() const { return grid_.y; }

  template <class T>
  T* shared() const {
    return reinterpret_cast<T*>(shared_.data());
  }

  template <class Work>
  void each(const Work& work) const {
    for (int i = 0; i < threads_; ++i) work(host_backwards ? threads_ - 1 - i : i);
  }
  template <class Work>
  void own(const Work& work) const {
    each(work);
  }

  /// Each thread's values become the sums over its warp, in the order of a butterfly of shuffles.
  template <class T, int count>
  void warp_sum(Local<Values<T, count>>& values) const {
    for (int first = 0; first < threads_; first += kWarp) {
      for (int apart = kWarp / 2; apart > 0; apart /= 2) {
        Values<T, count> before[kWarp];
        for (int lane = 0; lane < kWarp; ++lane) before[lane] = values[first + lane];
        for (int lane = 0; lane < kWarp; ++lane) {
          for (int i = 0; i < count; ++i) values[first + lane].v[i] += before[lane ^ apart].v[i];
        }
      }
    }
  }

 private:
  const int threads_;
  const int64_t x_, y_;
  const Grid& grid_;
  std::vector<double>& shared_;
};

/// The launcher of the host, in the place of Device.
struct Host {
  template <class Tensor>
  explicit Host(const Tensor& /*like*/) {}

  template <class Kernel>
  static void launch(const Grid& grid, const Kernel& kernel) {
    for (int64_t i = 0; i < grid.x * grid.y; ++i) {
      const int64_t at = host_backwards ? grid.x * grid.y - 1 - i : i;
      std::vector<double> shared = blank(grid);
      HostBlock block(Kernel::kThreads, at % grid.x, at / grid.x, grid, shared);
      kernel(block);
    }
  }

  /// A launch whose blocks wait for each other after every stage, `kernel(block, stage)`.
  template <class Kernel>
  static void launch_cooperative(int64_t stages, const Grid& grid, const Kernel& kernel) {
    for (int64_t stage = 0; stage < stages; ++stage) {
      for (int64_t i = 0; i < grid.x; ++i) {
        std::vector<double> shared = blank(grid);
        HostBlock block(Kernel::kThreads, host_backwards ? grid.x - 1 - i : i, 0, grid, shared);
        kernel(block, stage);
      }
    }
  }

  /// Blocks of a cooperative launch: any number is right on the host.
  template <class Kernel>
  static int64_t most_blocks(int64_t /*shared*/) {
    return 3;
  }

 private:
  /// Shared memory holds anything when a block starts.
  static std::vector<double> blank(const Grid& grid) {
    return std::vector<double>(static_cast<size_t>(grid.shared / 8 + 1), std::nan(""));
  }
};

}  // namespace soundspot::kernels::cuda
