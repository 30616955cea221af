#include "distributed/gradient_reducer.h"

#include <torch/csrc/distributed/c10d/reducer.hpp>
#include <unordered_map>

#include "distributed/engine.h"

namespace soundspot::distributed {

namespace {

constexpr int64_t kFirstBucket = 1 << 20, kBucket = 25 << 20;  // bytes, as PyTorch's DistributedDataParallel has them

/// The mean over processes of a bucket, counted.
class Average final : public c10d::CppCommHookInterface<c10::intrusive_ptr<ProcessGroup>> {
 public:
  using CppCommHookInterface::CppCommHookInterface;

  c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket& bucket) override {
    std::vector<Tensor> tensors{bucket.getBufferRef()};
    tensors[0].div_(static_cast<double>(state_->size()));
    state_->traffic()->handed(static_cast<int64_t>(tensors[0].nbytes()));
    const auto started = std::chrono::steady_clock::now();
    auto future = state_->engine()->backend(tensors[0].device().type()).allreduce(tensors)->getFuture();
    future->addCallback(
        [traffic = state_->traffic(), started](c10::ivalue::Future&) { traffic->waited_since(started); });
    return future;
  }
};

}  // namespace

GradientReducer::GradientReducer(const c10::intrusive_ptr<ProcessGroup>& group, const core::Parameters& parameters) {
  std::vector<Tensor> trained;
  std::unordered_map<size_t, std::string> names;
  for (const core::Parameter& parameter : parameters.all()) {
    if (!parameter.trainable) continue;
    names[trained.size()] = parameter.name;
    trained.push_back(parameter.value);
  }
  auto buckets = std::get<0>(c10d::compute_bucket_assignment_by_size(
      trained, {static_cast<size_t>(kFirstBucket), static_cast<size_t>(kBucket)}, std::vector<bool>(trained.size())));
  std::reverse(buckets.begin(), buckets.end());  // the last parameters have their gradients first
  reducer_ = std::make_unique<c10d::Reducer>(
      trained, std::move(buckets), group->engine()->group, std::vector<bool>(trained.size()), kBucket,
      /*find_unused_parameters=*/true, /*gradient_as_bucket_view=*/false, std::move(names), kFirstBucket,
      /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false, std::vector<int64_t>());
  reducer_->register_comm_hook(std::make_unique<Average>(group));
}

GradientReducer::~GradientReducer() = default;

void GradientReducer::prepare(const std::vector<Tensor>& roots) { reducer_->prepare_for_backward(roots); }

}  // namespace soundspot::distributed
