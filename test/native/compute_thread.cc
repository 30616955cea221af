// The queue of the compute thread by itself, for ThreadSanitizer: scripts/sanitize.mjs thread.
#include "binding/compute_thread.h"

#include <atomic>
#include <cstdio>
#include <stdexcept>
#include <thread>
#include <vector>

int main() {
  constexpr int kThreads = 8, kCalls = 2000;
  int64_t counted = 0;  // by the compute thread alone: no lock
  std::atomic<int> at_work = 0, together = 0, thrown = 0;
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kThreads; ++caller) {
    callers.emplace_back([&, caller] {
      for (int i = 0; i < kCalls; ++i) {
        int64_t seen = -1;  // on this thread's stack: written by the other, read when it is done
        try {
          soundspot::binding::on_compute_thread([&] {
            if (++at_work != 1) ++together;
            seen = ++counted;
            --at_work;
            if ((caller + i) % 7 == 0) throw std::runtime_error("as intended");
          });
        } catch (const std::runtime_error&) {
          ++thrown;
        }
        if (seen < 1) ++together;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  std::printf("%lld calls, %d of them failed as intended\n", static_cast<long long>(counted), thrown.load());
  return counted == kThreads * kCalls && together == 0 && thrown > 0 ? 0 : 1;
}
