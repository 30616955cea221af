#include "core/threads.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace soundspot::core {

namespace {

/// More gain little: memory is what loading waits for.
constexpr int64_t kMost = 4;
constexpr uint64_t kBytes = 4 << 20;

}  // namespace

void share_out(int64_t count, uint64_t bytes, const std::function<void(int64_t)>& work,
               const std::function<void()>& begin) {
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  int64_t failed = count;
  std::exception_ptr failure;
  const auto run = [&] {
    if (begin) begin();
    for (int64_t i = next++; i < count; i = next++) {
      try {
        work(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        next = count;
        if (i < failed) {
          failed = i;
          failure = std::current_exception();
        }
      }
    }
  };
  const int64_t threads = std::min(
      {static_cast<int64_t>(std::thread::hardware_concurrency()), count, kMost, static_cast<int64_t>(bytes / kBytes)});
  std::vector<std::thread> others;
  try {
    while (static_cast<int64_t>(others.size()) + 1 < threads) others.emplace_back(run);
  } catch (const std::system_error&) {
    // As many as there are.
  }
  run();
  for (std::thread& other : others) other.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace soundspot::core
