#include "core/transfer.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

namespace soundspot::core {

namespace {

/// In pinned memory, which a GPU reads itself. Its allocator keeps it until the copies of it have ended.
Tensor pinned(const Tensor& tensor) { return tensor.is_pinned() ? tensor : tensor.pin_memory(); }

Tensor start_copy(const Tensor& tensor, at::Device device) {
  return (device.is_cuda() ? pinned(tensor) : tensor).to(device, /*non_blocking=*/true);
}

/// The stream of uploads to a device, always the same: the allocator uses memory again on the stream that it came from.
c10::Stream upload_stream(at::Device device, const c10::impl::VirtualGuardImpl& devices) {
  static std::mutex mutex;
  static std::map<std::pair<at::DeviceType, at::DeviceIndex>, c10::Stream> streams;
  const std::lock_guard lock(mutex);
  const auto key = std::pair(device.type(), device.index());
  const auto found = streams.find(key);
  return found != streams.end() ? found->second
                                : streams.emplace(key, devices.getStreamFromGlobalPool(device)).first->second;
}

/// The batch whose rows the samples are, in their order; undefined where they are not.
Tensor batch_of_rows(const std::vector<Tensor>& samples) {
  const Tensor& first = samples.front();
  const int64_t length = first.numel();
  for (size_t i = 0; i < samples.size(); ++i) {
    const Tensor& sample = samples[i];
    if (!sample.is_contiguous() || !sample.is_alias_of(first) || sample.sizes() != first.sizes() ||
        sample.storage_offset() != first.storage_offset() + static_cast<int64_t>(i) * length) {
      return {};
    }
  }
  std::vector<int64_t> sizes = first.sizes().vec(), strides = first.strides().vec();
  sizes.insert(sizes.begin(), static_cast<int64_t>(samples.size()));
  strides.insert(strides.begin(), length);
  return first.as_strided(sizes, strides);
}

}  // namespace

Tensor stacked(const std::vector<Tensor>& samples, at::Device device) {
  if (samples.size() == 1) return samples.front().unsqueeze(0);
  if (!device.is_cuda()) {
    const Tensor whole = batch_of_rows(samples);
    return whole.defined() ? whole : at::stack(samples);
  }
  std::vector<int64_t> sizes = samples.front().sizes().vec();
  sizes.insert(sizes.begin(), static_cast<int64_t>(samples.size()));
  Tensor batch = at::empty(sizes, samples.front().options().pinned_memory(true));
  return at::stack_out(batch, samples);
}

Tensor to_device(const Tensor& tensor, at::Device device) {
  return device.is_cpu() || tensor.device() == device ? tensor : start_copy(tensor, device);
}

std::vector<Tensor> to_host(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> result = tensors;
  std::map<at::ScalarType, std::vector<size_t>> together;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].defined() && !tensors[i].is_cpu()) together[tensors[i].scalar_type()].push_back(i);
  }
  for (const auto& [type, places] : together) {
    std::vector<Tensor> flat;
    std::vector<int64_t> lengths;
    for (const size_t place : places) {
      flat.push_back(tensors[place].detach().flatten());
      lengths.push_back(flat.back().numel());
    }
    const std::vector<Tensor> pieces = at::cat(flat).to(at::kCPU).split_with_sizes(lengths);
    for (size_t i = 0; i < places.size(); ++i) {
      result[places[i]] = pieces[i].view(tensors[places[i]].sizes());
    }
  }
  return result;
}

Upload::Upload(const std::vector<Tensor>& tensors, at::Device device,
               const std::function<std::vector<Tensor>(std::vector<Tensor>)>& then) {
  if (device.is_cpu()) {
    tensors_ = then(tensors);
    return;
  }
  const c10::impl::VirtualGuardImpl devices(device.type());
  const c10::Stream copies = upload_stream(device, devices);
  const c10::StreamGuard on_it(copies);
  std::vector<Tensor> arriving;
  for (const Tensor& tensor : tensors) arriving.push_back(start_copy(tensor, device));
  tensors_ = then(std::move(arriving));
  arrived_.emplace(device.type());
  arrived_->record(copies);
}

std::vector<Tensor> Upload::take() {
  if (arrived_ && !tensors_.empty()) {
    const at::Device device = tensors_.front().device();
    const c10::impl::VirtualGuardImpl devices(device.type());
    const c10::Stream own = devices.getStream(device);
    arrived_->block(own);
    // Their memory is the copying stream's: it is not used again before this stream has come to the end of its work.
    for (const Tensor& tensor : tensors_) devices.recordDataPtrOnStream(tensor.storage().data_ptr(), own);
  }
  return std::exchange(tensors_, {});
}

}  // namespace soundspot::core
