// The one thread that models compute on.
#pragma once

#include <functional>

namespace soundspot::binding {

/// Runs `work` on the compute thread and waits for it; what it throws is thrown here.
///
/// OpenMP keeps a team of workers for every thread that starts parallel work. Four threads of Node's pool would have
/// four teams, more than there are cores, which then sleep and wake for every operator instead of being at hand.
void on_compute_thread(const std::function<void()>& work);

/// Says that parallel work that starts on this thread, one of Node's pool, is to stay on it.
void stay_on_this_thread();

}  // namespace soundspot::binding
