// Work shared out to a few threads of its own, for loading: OpenMP's are left to computing.
#pragma once

#include <cstdint>
#include <functional>

namespace soundspot::core {

/// Calls `work(i)` for every i below `count`, each once, on up to four threads, one for every 4 MiB of the `bytes` that
/// all calls read, and waits for all. `work` runs no parallel operator of LibTorch, or only after `begin`, which each
/// thread calls first, has set it to one thread. Where no thread can be started, those that there are do it all.
/// @throws what the call of the lowest i that fails throws; calls of a higher i may be left out then.
void share_out(int64_t count, uint64_t bytes, const std::function<void(int64_t)>& work,
               const std::function<void()>& begin = {});

}  // namespace soundspot::core
