#include "binding/compute_thread.h"

#ifdef _OPENMP
#include <omp.h>
#endif

#include <condition_variable>
#include <deque>
#include <exception>
#include <future>
#include <mutex>
#include <thread>

namespace soundspot::binding {

namespace {

class ComputeThread {
 public:
  ComputeThread() {
    std::thread([this] { run(); }).detach();
  }

  std::future<void> submit(std::packaged_task<void()> task) {
    std::future<void> done = task.get_future();
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(std::move(task));
    }
    filled_.notify_one();
    return done;
  }

 private:
  [[noreturn]] void run() {
    while (true) {
      std::unique_lock lock(mutex_);
      filled_.wait(lock, [this] { return !waiting_.empty(); });
      std::packaged_task<void()> task = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<std::packaged_task<void()>> waiting_;
};

}  // namespace

void on_compute_thread(const std::function<void()>& work) {
  // Never destroyed: it waits for work until the process ends.
  static auto* thread = new ComputeThread;
  thread->submit(std::packaged_task<void()>(work)).get();
}

void stay_on_this_thread() {
#ifdef _OPENMP
  omp_set_num_threads(1);
#endif
}

}  // namespace soundspot::binding
