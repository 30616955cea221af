// Runs the GPU's kernels with one thread of the host for each of theirs, and real barriers: built with ThreadSanitizer
// it reports memory that a phase shares without a barrier, which running threads one after another cannot show. Every
// result must be that of host.h, bit for bit. `node scripts/sanitize.mjs thread` builds and runs it.
#include <barrier>
#include <cstdio>
#include <memory>
#include <random>
#include <thread>

#include "kernels/cuda/adam.h"
#include "kernels/cuda/augment.h"
#include "kernels/cuda/batch_norm.h"
#include "kernels/cuda/cooperative.h"
#include "kernels/cuda/heatmap.h"
#include "kernels/cuda/host.h"
#include "kernels/cuda/matching.h"

namespace {

using namespace soundspot::kernels::cuda;

/// What the threads of one block share.
struct Meeting {
  Meeting(int threads, const Grid& grid)
      : all(threads), shared(static_cast<size_t>(grid.shared / 8 + 1)), lanes(static_cast<size_t>(threads) * kMost) {
    for (int warp = 0; warp < threads / kWarp; ++warp) warps.push_back(std::make_unique<std::barrier<>>(kWarp));
  }
  static constexpr int kMost = 64;  // values that a thread sums at once
  std::barrier<> all;
  std::vector<std::unique_ptr<std::barrier<>>> warps;
  std::vector<double> shared, lanes;
};

/// The block as one thread sees it.
class ThreadBlock {
 public:
  ThreadBlock(Meeting& meeting, int thread, int threads, int64_t x, int64_t y, const Grid& grid)
      : meeting_(meeting), thread_(thread), threads_(threads), x_(x), y_(y), grid_(grid) {}

  template <class T>
  class Local {
   public:
    explicit Local(const ThreadBlock&) {}
    T& operator[](int) { return value_; }

   private:
    T value_;
  };

  int threads() const { return threads_; }
  int64_t x() const { return x_; }
  int64_t y() const { return y_; }
  int64_t blocks_x() const { return grid_.x; }
  int64_t blocks_y() const { return grid_.y; }
  template <class T>
  T* shared() const {
    return reinterpret_cast<T*>(meeting_.shared.data());
  }
  template <class Work>
  void each(const Work& work) const {
    work(thread_);
    meeting_.all.arrive_and_wait();
  }
  template <class Work>
  void own(const Work& work) const {
    work(thread_);
  }
  template <class T, int count>
  void warp_sum(Local<Values<T, count>>& values) const {
    static_assert(count <= Meeting::kMost);
    std::barrier<>& warp = *meeting_.warps[static_cast<size_t>(thread_ / kWarp)];
    for (int apart = kWarp / 2; apart > 0; apart /= 2) {
      for (int i = 0; i < count; ++i) at(thread_)[i] = static_cast<double>(values[0].v[i]);
      warp.arrive_and_wait();
      for (int i = 0; i < count; ++i) values[0].v[i] += static_cast<T>(at(thread_ ^ apart)[i]);
      warp.arrive_and_wait();
    }
  }

 private:
  double* at(int thread) const { return meeting_.lanes.data() + thread * Meeting::kMost; }

  Meeting& meeting_;
  const int thread_, threads_;
  const int64_t x_, y_;
  const Grid& grid_;
};

struct Threads {
  template <class Kernel>
  static void launch(const Grid& grid, const Kernel& kernel) {
    for (int64_t i = 0; i < grid.x * grid.y; ++i) {
      Meeting meeting(Kernel::kThreads, grid);
      run(Kernel::kThreads, [&](int thread) {
        ThreadBlock block(meeting, thread, Kernel::kThreads, i % grid.x, i / grid.x, grid);
        kernel(block);
      });
    }
  }
  template <class Kernel>
  static void launch_cooperative(int64_t stages, const Grid& grid, const Kernel& kernel) {
    const int threads = static_cast<int>(grid.x) * Kernel::kThreads;
    std::barrier<> all(threads);
    std::vector<std::unique_ptr<Meeting>> meetings;
    for (int64_t i = 0; i < grid.x; ++i) meetings.push_back(std::make_unique<Meeting>(Kernel::kThreads, grid));
    run(threads, [&](int thread) {
      const int at = thread / Kernel::kThreads;
      ThreadBlock block(*meetings[static_cast<size_t>(at)], thread % Kernel::kThreads, Kernel::kThreads, at, 0, grid);
      for (int64_t stage = 0; stage < stages; ++stage) {
        kernel(block, stage);
        all.arrive_and_wait();
      }
    });
  }

 private:
  template <class Work>
  static void run(int threads, const Work& work) {
    std::vector<std::thread> all;
    for (int thread = 0; thread < threads; ++thread) all.emplace_back([&work, thread] { work(thread); });
    for (std::thread& each : all) each.join();
  }
};

/// Memory of one launch: given numbers, and results that start as 0.
class Memory {
 public:
  float* given(int64_t count) {
    float* const values = result(count);
    for (int64_t i = 0; i < count; ++i) values[i] = std::uniform_real_distribution<float>(0.1F, 1)(random_);
    return values;
  }
  float* result(int64_t count) { return all_.emplace_back(new float[static_cast<size_t>(count)]()).get(); }
  bool same(const Memory& other, const std::vector<int64_t>& counts) const {
    for (size_t i = 0; i < counts.size(); ++i) {
      if (std::memcmp(all_[i].get(), other.all_[i].get(), static_cast<size_t>(counts[i]) * sizeof(float)) != 0)
        return false;
    }
    return true;
  }
  std::vector<std::unique_ptr<float[]>> all_;

 private:
  std::mt19937 random_{26};
};

int failed = 0;

/// Runs `work(launcher, give, result)` by both launchers and compares all memory.
template <class Work>
void compare(const char* name, const Work& work) {
  std::vector<int64_t> counts;
  Memory memories[2];
  const auto run = [&](auto launcher, Memory& memory) {
    counts.clear();
    work(
        launcher,
        [&](int64_t count) {
          counts.push_back(count);
          return memory.given(count);
        },
        [&](int64_t count) {
          counts.push_back(count);
          return memory.result(count);
        });
  };
  run(Host(0), memories[0]);
  run(Threads(), memories[1]);
  const bool same = memories[0].same(memories[1], counts);
  std::printf("%s: %s\n", name, same ? "the same" : "DIFFERENT");
  if (!same) ++failed;
}

}  // namespace

int main() {
  compare("batch norm", [](auto run, auto given, auto result) {
    const int64_t rows = 100, channels = 12;
    const RowTiles tiles = RowTiles::of(rows, channels, 4);
    const float *x = given(rows * channels), *dy = given(rows * channels), *y = given(rows * channels);
    const int64_t chunks = tiles.chunks();
    float *means = result(chunks * channels), *squares = result(chunks * channels), *mean = result(channels),
          *square = result(channels), *count = result(1);
    const BatchMoments<float, 4> moments{tiles, x, means, squares};
    run.launch(tiles.grid(4, moments.kShared), moments);
    run.launch(ChunkLanes::grid(channels),
               JoinMoments{means, squares, nullptr, channels, chunks, rows, tiles.chunk, mean, square, count});
    const BatchGradientSums<float, 4> sums{tiles, x, dy, y, mean, means, squares};
    run.launch(tiles.grid(4, sums.kShared), sums);
    run.launch(ChunkLanes::grid(channels), JoinGradientSums{means, squares, channels, chunks, square,
                                                            result(2 * channels), result(channels), result(channels)});
  });
  compare("attention", [](auto run, auto given, auto result) {
    const AttentionSizes sizes{3, 21, 20};
    using Forward = Attend<float, 4, 2>;
    using Backward = AttendGradient<float, 4, 2>;
    const float *rows = given(60), *offsets = given(3), *tokens = given(420);
    float *attention = result(63), *shares = result(63), *totals = result(3), *gathered = result(60);
    run.launch({1, 1, Forward::kShared},
               Forward{sizes, 0.2F, rows, offsets, tokens, attention, shares, totals, gathered});
    float *factors = result(126), *vectors = result(120);
    run.launch({1, 1, Backward::kShared},
               Backward{sizes, 0.2F, given(60), given(63), attention, shares, totals, rows, tokens, result(60),
                        result(3), factors + 63, 126, factors, vectors, 120});
  });
  compare("rows of slots", [](auto run, auto given, auto result) {
    const int64_t rows = 5, dim = 40, all = rows * dim;
    const float *input = given(3 * all), *state = given(3 * all), *hidden = given(all), *weight = given(dim);
    float *gates = result(3 * all), *updated = result(all), *normed = result(all), *inverse = result(rows),
          *affine = result(all);
    run.launch(RowWarps::grid(rows),
               GruNormRows{rows, dim, input, state, hidden, weight, weight, gates, updated, normed, inverse, affine});
    run.launch(RowWarps::grid(rows),
               GruNormRowsGradient{rows, dim, given(all), weight, normed, inverse, gates, state, hidden, given(all),
                                   result(3 * all), result(3 * all), result(all)});
  });
  compare("slot attention in one launch", [](auto run, auto given, auto result) {
    const int64_t batch = 2, slots = 3, tokens = 9, dim = 8, inner = 12, rows = batch * slots, iterations = 2;
    const auto layer = [&](int64_t out, int64_t in) { return LinearRows{given(out * in), given(out), out}; };
    const JoinedWeights weights{layer(dim + 1, dim), layer(3 * dim, dim), layer(3 * dim, dim), layer(inner, dim),
                                layer(dim, inner)};
    const auto each = [&](int64_t width) { return result(iterations * rows * width); };
    const float* x = given(batch * tokens * dim);
    float* slots_of = given(iterations * rows * dim);
    using Kernel = CooperativeSlots<float, 4, 4, 8>;
    const Kernel kernel{{slots, tokens, dim},
                        batch,
                        iterations,
                        0.3F,
                        weights,
                        x,
                        slots_of,
                        each(dim),
                        result(rows),
                        each(3 * dim),
                        each(tokens),
                        each(tokens),
                        each(1),
                        each(dim),
                        each(3 * dim),
                        each(dim),
                        each(inner),
                        result(rows * dim)};
    run.launch_cooperative(kernel.stages(), {2, 1, Kernel::shared_bytes(rows)}, kernel);
  });
  compare("heatmap and matching", [](auto run, auto given, auto result) {
    const Enlargement sizes{3, 40, 60, true, false, 3, 0.5F};
    const float* maps = given(18);
    float *partial = result(8), *scales = result(4);
    const MapExtremes extremes{sizes, maps, partial};
    run.launch(extremes.grid(2), extremes);
    const MapScales join{2, 2, partial, scales};
    run.launch(join.grid(), join);
    const MapResult kernel{sizes, 2, maps, scales, 0, 1, 0.6F, result(2400), nullptr};
    run.launch(kernel.grid(1), kernel);
    const MatchedPair pair{given(60), given(60), 2, 3, 10, 2};
    run.launch({1, 1, MatchingLoss::kShared}, MatchingLoss{{pair, pair}, result(1)});
  });
  compare("augmentation", [](auto run, auto, auto result) {
    const int64_t batch = 3, size = 50, count = batch * size * size * 3;
    std::vector<soundspot::signal::ImageChange> changes(batch);
    changes[0].blur = soundspot::signal::kBoxBlur;
    changes[0].radius = 1;
    changes[0].inner = changes[0].outer = (1 << 24) / 5;
    changes[1].blur = soundspot::signal::kGaussianBlur;
    for (float& weight : changes[1].weights) weight = 0.2F;
    changes[1].jitter = changes[2].jitter = 1;
    changes[1].contrast = 0.5F;
    changes[1].order = 0x01020300;  // contrast last
    changes[2].flip = 1;
    const auto bytes = [&] { return reinterpret_cast<uint8_t*>(result((count + 3) / 4)); };
    uint8_t *in = bytes(), *between = bytes();
    for (int64_t i = 0; i < count; ++i) in[i] = static_cast<uint8_t>(37 * i % 251);
    const ChangedImages images{size, changes.data()};
    run.launch(images.grid(batch), GaussianBlurs{images, in, between});
    for (const bool vertical : {false, true}) {
      const BoxBlurs kernel{images, vertical, between};
      run.launch(kernel.grid(batch), kernel);
    }
    auto* const sums = reinterpret_cast<int64_t*>(result(2 * batch * images.chunks()));
    run.launch(images.grid(batch, GreySums::kShared), GreySums{images, between, sums});
    run.launch(images.grid(batch, FinishImages::kShared), FinishImages{images, between, sums, result(count)});
  });
  compare("Adam", [](auto run, auto given, auto result) {
    AdamTensors tensors;
    tensors.count = 1;
    tensors.blocks = 1;
    tensors.all[0] = {given(100), given(100), given(100), given(1), given(100), 100, 0, true};
    auto* const partial = reinterpret_cast<double*>(result(4));
    auto* const norm = reinterpret_cast<double*>(result(2));
    float* const divisor = result(1);
    auto* const finite = reinterpret_cast<bool*>(result(1));
    run.launch({1, 1, SquaredNorm::kShared}, SquaredNorm{tensors, partial});
    run.launch({1, 1, JoinNorm::kShared}, JoinNorm{partial, 1, nullptr, 0.5, norm, divisor, finite});
    run.launch({1}, CountSteps{tensors, finite});
    run.launch({1, 1, AdamUpdate::kShared},
               AdamUpdate{tensors, finite, divisor, given(1), std::log(0.9), std::log(0.999), 0.9F, 0.999F, 0.1F,
                          0.001F, 1e-8F, 0.01F, false});
  });
  return failed == 0 ? 0 : 1;
}
