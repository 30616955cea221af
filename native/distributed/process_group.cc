#define USE_C10D_GLOO  // which the headers of LibTorch's packages leave to who includes them
#include "distributed/process_group.h"

#include <c10/util/Logging.h>

#include <cstdlib>
#include <mutex>
#include <sstream>
#include <string_view>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "core/error.h"
#include "distributed/engine.h"
#include "distributed/nccl.h"

namespace soundspot::distributed {

namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

/// Gloo's exceptions have no types declared here: their messages begin with the name of the source file.
bool of_gloo(const std::exception& error) {
  return std::string_view(error.what()).find("/gloo/") != std::string_view::npos;
}

std::string first_line(const std::exception& error) {
  const auto* known = dynamic_cast<const c10::Error*>(&error);
  const std::string text = known ? known->what_without_backtrace() : error.what();
  return text.substr(0, text.find('\n'));
}

bool is_loopback(const std::string& address) {
  return address == "localhost" || address == "::1" || address.rfind("127.", 0) == 0;
}

/// While one lives, LibTorch logs errors alone, unless its log level was chosen. The sockets of a store
/// look up the names of their peers for lines of a log, and warn where a network has no names for its addresses. Only
/// while a store is made: when that of rank 0 is done it has accepted all others, and Gloo's warning about this
/// machine's name, which says how to set the interface, comes after it.
class QuietSockets {
 public:
  QuietSockets() {
    const std::lock_guard lock(mutex);
    if (alive++ > 0) return;
    before = FLAGS_caffe2_log_level;
    if (before == c10::GLOG_WARNING && std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr)
      FLAGS_caffe2_log_level = c10::GLOG_ERROR;
  }
  ~QuietSockets() {
    const std::lock_guard lock(mutex);
    if (--alive == 0) FLAGS_caffe2_log_level = before;
  }
  QuietSockets(const QuietSockets&) = delete;
  QuietSockets& operator=(const QuietSockets&) = delete;

 private:
  static inline std::mutex mutex;
  static inline int alive = 0, before = 0;
};

auto device_of(const GroupOptions& options) {
  if (!options.interface.empty()) return c10d::ProcessGroupGloo::createDeviceForInterface(options.interface);
  if (is_loopback(options.address)) return c10d::ProcessGroupGloo::createDeviceForHostname(options.address);
  return c10d::ProcessGroupGloo::createDefaultDevice();
}

}  // namespace

c10::intrusive_ptr<ProcessGroup> ProcessGroup::join(const GroupOptions& options) {
  auto group = c10::intrusive_ptr<ProcessGroup>::unsafe_steal_from_new(new ProcessGroup(options));
  group->guarded([&] {
    const auto timeout = std::chrono::duration_cast<std::chrono::milliseconds>(Seconds(options.timeout));
    c10d::TCPStoreOptions store_options;
    store_options.port = static_cast<uint16_t>(options.port);
    store_options.isServer = options.rank == 0 && !options.store_is_there;
    store_options.numWorkers = static_cast<size_t>(options.size);
    store_options.waitWorkers = !options.store_is_there;
    store_options.timeout = timeout;
    const auto store = [&] {
      const QuietSockets quiet;
      return c10::make_intrusive<c10d::PrefixStore>(
          options.prefix, c10::make_intrusive<c10d::TCPStore>(options.address, store_options));
    }();
    const auto gloo_options = c10d::ProcessGroupGloo::Options::create(timeout);
    gloo_options->devices.push_back(device_of(options));
    const auto rank = static_cast<int>(options.rank), size = static_cast<int>(options.size);
    const auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, gloo_options);
    const auto joined = c10::make_intrusive<c10d::ProcessGroup>(store, rank, size);
    joined->setBackend(c10::DeviceType::CPU, c10d::ProcessGroup::BackendType::GLOO, gloo);
#ifdef SOUNDSPOT_CUDA
    add_nccl(*joined, store, timeout);
#endif
    group->engine_ = std::make_shared<const Engine>(Engine{joined});
  });
  return group;
}

ProcessGroup::ProcessGroup(GroupOptions options) : options_(std::move(options)) {}

ProcessGroup::~ProcessGroup() = default;

std::shared_ptr<const Engine> ProcessGroup::engine() const {
  const std::lock_guard lock(mutex_);
  if (!engine_) throw Error("ERR_DISPOSED", "This process has left its group. Join again.");
  return engine_;
}

void ProcessGroup::leave() {
  std::shared_ptr<const Engine> last;
  const std::lock_guard lock(mutex_);
  last.swap(engine_);
}

void ProcessGroup::rethrow(const std::exception& error) const {
  if (dynamic_cast<const Error*>(&error)) return;
  if (!dynamic_cast<const c10::DistError*>(&error) && !of_gloo(error)) return;
  std::ostringstream message;
  message << "Process " << options_.rank << " of " << options_.size
          << " lost the others: one has ended, or did not answer within " << options_.timeout
          << " s. Check the output of the others, and run all of them again with resume. (" << first_line(error) << ")";
  throw Error("ERR_DISTRIBUTED", message.str());
}

namespace {

/// The tensor as a collective gets it. Gloo may hold what it exchanged a little longer than the caller. Were that part
/// of a graph, Gloo's thread could be the last to hold the graph and the group in it, and would wait for itself
/// forever.
Tensor outside_graph(const Tensor& tensor) { return tensor.detach(); }

/// Waits for a collective that this process gives `own` to, and counts it.
template <class Start>
void wait_for(ProcessGroup& group, const Tensor& own, const Start& start) {
  const std::shared_ptr<const Engine> engine = group.engine();
  group.traffic()->handed(static_cast<int64_t>(own.nbytes()));
  const auto started = Clock::now();
  group.guarded([&] { start(engine->backend(own.device().type()))->wait(); });
  group.traffic()->waited_since(started);
}

}  // namespace

void ProcessGroup::sum(const Tensor& values) {
  std::vector<Tensor> tensors{outside_graph(values)};
  wait_for(*this, values, [&](auto& backend) { return backend.allreduce(tensors); });
}

Tensor ProcessGroup::gather(const Tensor& rows) {
  std::vector<int64_t> sizes = rows.sizes().vec();
  sizes[0] *= size();
  const Tensor all = at::empty(sizes, rows.options());
  Tensor filled = outside_graph(all), own = outside_graph(rows).contiguous();
  wait_for(*this, own, [&](auto& backend) { return backend._allgather_base(filled, own); });
  return all;
}

void ProcessGroup::broadcast(const std::vector<Tensor>& tensors) {
  const at::NoGradGuard no_grad;
  for (const Tensor& tensor : tensors) {
    // Contiguous: all processes then send values in the same order.
    std::vector<Tensor> sent{outside_graph(tensor).contiguous()};
    wait_for(*this, tensor, [&](auto& backend) { return backend.broadcast(sent); });
    if (!sent[0].is_alias_of(tensor)) Tensor(tensor).copy_(sent[0]);
  }
}

std::vector<std::string> ProcessGroup::gather_bytes(const std::string& own) {
  const Tensor lengths = gather(at::full({1}, static_cast<int64_t>(own.size()), at::kLong));
  const auto length = lengths.max().item<int64_t>();
  const Tensor padded = at::zeros({1, std::max<int64_t>(length, 1)}, at::kByte);
  std::copy(own.begin(), own.end(), padded.mutable_data_ptr<uint8_t>());
  const Tensor all = gather(padded);
  std::vector<std::string> result;
  for (int64_t i = 0; i < size(); ++i) {
    const auto* from = reinterpret_cast<const char*>(all[i].const_data_ptr<uint8_t>());
    result.emplace_back(from, static_cast<size_t>(lengths[i].item<int64_t>()));
  }
  return result;
}

void TrafficCounter::handed(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  traffic_.calls += 1;
  traffic_.bytes += bytes;
}

void TrafficCounter::waited_since(Clock::time_point started) {
  const Seconds waited = Clock::now() - started;
  const std::lock_guard lock(mutex_);
  traffic_.seconds += waited.count();
}

Traffic TrafficCounter::read() const {
  const std::lock_guard lock(mutex_);
  return traffic_;
}

}  // namespace soundspot::distributed
