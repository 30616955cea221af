// Processes on one machine or several, joined by c10d: rendezvous through its TCP store, collectives by Gloo, and by
// NCCL between CUDA devices.
#pragma once

#include <chrono>
#include <mutex>

#include "distributed/peers.h"

namespace soundspot::distributed {

struct GroupOptions {
  int64_t rank = 0, size = 1;
  std::string address;          // of rank 0's machine
  int64_t port = 29500;         // of the store
  bool store_is_there = false;  // the launcher runs it; otherwise rank 0 does
  std::string prefix;           // of the keys in the store
  std::string interface;        // to send through; empty: the one of this machine's name, of loopback where address is
  double timeout = 300;         // seconds that a collective may take
};

struct Engine;

/// The traffic of this process in collectives.
struct Traffic {
  int64_t calls = 0;
  int64_t bytes = 0;   // of payload; a ring sends each byte of a sum about twice
  double seconds = 0;  // that this process waited
};

/// Counts for a group. It is shared, so that a callback on a thread of Gloo counts without keeping the group: were it
/// the last to hold it, Gloo would be destroyed on a thread that it waits for, which ends the Node process.
class TrafficCounter {
 public:
  void handed(int64_t bytes);
  void waited_since(std::chrono::steady_clock::time_point started);
  Traffic read() const;

 private:
  mutable std::mutex mutex_;
  Traffic traffic_;
};

class ProcessGroup final : public Peers {
 public:
  /// Waits for all processes.
  /// @throws Error ERR_DISTRIBUTED when one is missing after the timeout, or the store cannot be reached.
  static c10::intrusive_ptr<ProcessGroup> join(const GroupOptions& options);
  ~ProcessGroup() override;

  int64_t rank() const override { return options_.rank; }
  int64_t size() const override { return options_.size; }
  void sum(const Tensor& values) override;
  Tensor gather(const Tensor& rows) override;
  /// Rank 0's tensors to all, in place.
  void broadcast(const std::vector<Tensor>& tensors);
  /// Bytes of every process, which may differ in length.
  std::vector<std::string> gather_bytes(const std::string& own);

  /// Of the collectives above and of those that others start.
  const std::shared_ptr<TrafficCounter>& traffic() const { return traffic_; }
  /// distributed/engine.h.
  /// @throws Error ERR_DISPOSED after `leave`.
  std::shared_ptr<const Engine> engine() const;

  /// Runs work that waits for other processes; what it throws of the network becomes ERR_DISTRIBUTED.
  template <class Work>
  auto guarded(const Work& work) const {
    try {
      return work();
    } catch (const std::exception& error) {
      rethrow(error);
      throw;
    }
  }

  /// Ends the connections, unless the engine is still in use: calls that wait in other processes then fail.
  void leave();

 private:
  explicit ProcessGroup(GroupOptions options);
  /// @throws Error ERR_DISTRIBUTED when `error` is one of the network; returns when it is not.
  void rethrow(const std::exception& error) const;

  GroupOptions options_;
  const std::shared_ptr<TrafficCounter> traffic_ = std::make_shared<TrafficCounter>();
  mutable std::mutex mutex_;  // guards the following members
  std::shared_ptr<const Engine> engine_;
};

}  // namespace soundspot::distributed
