// A device for tests alone, "testdevice:0": its tensors lie in the host's memory, at addresses that nobody may read
// or write. Code that takes a tensor's memory without asking for its device ends the process; an operator that gets
// tensors of two devices throws. Every operator runs on the CPU and gives the CPU's values. What makes the host of a
// real device wait is counted: takeWaits() → what it was, in order, since the last call. Its kernels are in
// device_kernels.cc.
#include "host_device.h"

#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/DeviceType.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <sys/mman.h>
#include <torch/library.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>

#include "binding/functions.h"

namespace soundspot::testing {
namespace {

using c10::OperatorHandle;
using torch::jit::Stack;

constexpr auto kKind = at::kPrivateUse1;
const at::Device kDevice(kKind, 0);

/// What a host waits for: values that it reads from the device, and copies to it that it does not leave to the device.
class Waits {
 public:
  void add(const std::string& what) {
    if (inside > 0) return;
    const std::lock_guard lock(mutex_);
    all_.push_back(what);
  }
  std::vector<std::string> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(all_, {});
  }
  size_t count() {
    const std::lock_guard lock(mutex_);
    return all_.size();
  }

  /// While an operator is computed its own copies do not count.
  static thread_local int inside;

 private:
  std::mutex mutex_;
  std::vector<std::string> all_;
};

thread_local int Waits::inside = 0;

Waits waits;
std::atomic<size_t> uploads = 0;

struct Inside {
  Inside() { ++Waits::inside; }
  ~Inside() { --Waits::inside; }
};

/// Memory at two addresses: the one that tensors have, which is protected, and one for the operators here.
class Memory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    // As the allocator of a GPU does it. JavaScript sets the variable between two calls.
    const char* most = std::getenv("SOUNDSPOT_TEST_DEVICE_BYTES");
    const size_t length = std::max(kPage, (bytes + kPage - 1) / kPage * kPage);
    TORCH_CHECK_WITH(OutOfMemoryError, !most || length <= std::strtoull(most, nullptr, 10),
                     "The test device is out of memory. Tried to allocate ", bytes, " bytes.");
    const std::lock_guard lock(mutex_);
    if (address_ == nullptr) reserve();
    char* place = nullptr;
    std::vector<char*>& free = free_[length];
    if (!free.empty()) {
      place = free.back();
      free.pop_back();
    } else {
      TORCH_CHECK(used_ + length <= kReserved, "no memory for ", bytes, " bytes");
      place = address_ + used_;
      used_ += length;
    }
    return {place, new std::pair(place, length), &release, kDevice};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void*, const void*, size_t) const override { TORCH_CHECK(false, "The test device copies no bytes."); }

  /// Where the memory of a tensor's address can be used.
  char* usable(const void* address) const { return memory_ + (static_cast<const char*>(address) - address_); }

  /// Whether the addresses of tensors may be read and written: the calls with and without `open` are counted.
  void permit(bool open) {
    const std::lock_guard lock(mutex_);
    const int before = open_;
    open_ += open ? 1 : -1;
    if (address_ == nullptr || (before > 0) == (open_ > 0)) return;
    TORCH_CHECK(mprotect(address_, kReserved, open ? PROT_READ | PROT_WRITE : PROT_NONE) == 0);
  }

 private:
  static constexpr size_t kPage = 4096, kReserved = size_t{1} << 36;  // taken from the system where it is written

  static void release(void* context);

  void reserve() {
    const int file = memfd_create("testdevice", MFD_CLOEXEC);
    void *address = MAP_FAILED, *memory = MAP_FAILED;
    if (file >= 0 && ftruncate(file, static_cast<off_t>(kReserved)) == 0) {
      address = mmap(nullptr, kReserved, PROT_NONE, MAP_SHARED | MAP_NORESERVE, file, 0);
      memory = mmap(nullptr, kReserved, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
    }
    if (file >= 0) close(file);
    TORCH_CHECK(address != MAP_FAILED && memory != MAP_FAILED, "no memory for the test device");
    address_ = static_cast<char*>(address);
    memory_ = static_cast<char*>(memory);
  }

  std::mutex mutex_;
  char *address_ = nullptr, *memory_ = nullptr;
  size_t used_ = 0;
  std::map<size_t, std::vector<char*>> free_;  // by length
  int open_ = 0;
};

Memory memory;
REGISTER_ALLOCATOR(kKind, &memory);

void Memory::release(void* context) {
  const std::unique_ptr<std::pair<char*, size_t>> block(static_cast<std::pair<char*, size_t>*>(context));
  const std::lock_guard lock(memory.mutex_);
  memory.free_[block->second].push_back(block->first);
}

struct Guard final : c10::impl::NoOpDeviceGuardImpl<kKind> {
  at::Device exchangeDevice(at::Device) const override { return kDevice; }
  at::Device getDevice() const override { return kDevice; }
  c10::Stream getStream(at::Device) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, kDevice); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, kDevice); }
  // There is one stream, and its work is done when it is started.
  c10::Stream getStreamFromGlobalPool(at::Device device, bool) const override { return getStream(device); }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(at::DeviceIndex) const override { return true; }
};

const bool hooked = [] {
  c10::register_privateuse1_backend("testdevice");
  at::RegisterPrivateUse1HooksInterface(new Hooks);
  return true;
}();

bool is_ours(const Tensor& tensor) { return tensor.defined() && tensor.device().type() == kKind; }

/// The same elements, as a tensor of the CPU over the same memory.
Tensor on_host(const Tensor& tensor) {
  if (!is_ours(tensor)) return tensor;
  const auto* base = static_cast<const char*>(tensor.storage().data());
  char* start = memory.usable(base + static_cast<size_t>(tensor.storage_offset()) * tensor.element_size());
  return at::from_blob(start, tensor.sizes(), tensor.strides(), tensor.options().device(at::kCPU).requires_grad(false));
}

Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>,
             std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   type.value_or(at::kFloat), format);
}

Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> type,
                     std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &memory, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           type.value_or(at::kFloat));
}

Tensor copy_from(const Tensor& from, const Tensor& to, bool non_blocking) {
  if (!is_ours(to)) waits.add("read");
  if (!is_ours(from) && !non_blocking) waits.add("upload");
  if (!is_ours(from) && from.dim() > 0 && Waits::inside == 0) ++uploads;
  on_host(to).copy_(on_host(from));
  return to;
}

const Tensor& resize_(const Tensor& tensor, at::IntArrayRef size, std::optional<at::MemoryFormat> format) {
  TORCH_CHECK(!format, "The test device resizes to contiguous tensors alone.");
  auto* implementation = tensor.unsafeGetTensorImpl();
  implementation->set_sizes_contiguous(size);
  const size_t bytes = static_cast<size_t>(tensor.numel()) * tensor.element_size();
  auto* storage = implementation->unsafe_storage().unsafeGetStorageImpl();
  if (storage->nbytes() < bytes) {
    storage->set_data_ptr_noswap(memory.allocate(bytes));
    storage->set_nbytes(bytes);
  }
  return tensor;
}

Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  if (to.sizes() != from.sizes()) resize_(to, from.sizes(), std::nullopt);
  return copy_from(from, to, false);
}

/// Tensors of the CPU that take part in an operator on the device are an error, but for 0-dimensional ones.
void check(const OperatorHandle& op, const Tensor& tensor) {
  if (!tensor.defined() || is_ours(tensor) || tensor.dim() == 0) return;
  TORCH_CHECK(false, "A tensor of the CPU, ", tensor.sizes(), ", is an operand of ", op.schema().name(),
              " on the test device.");
}

/// Whether the host must know values to go on: a result that is no tensor, or whose size depends on them.
bool waits_for(const OperatorHandle& op, const Stack& stack) {
  for (const auto& result : op.schema().returns()) {
    const auto& type = *result.type();
    if (!type.isSubtypeOf(*c10::TensorType::get()) && !type.isSubtypeOf(*c10::ListType::ofTensors())) return true;
  }
  static const std::set<std::string> kDependent{
      "aten::nonzero",  "aten::masked_select",      "aten::_unique2",      "aten::unique_dim",
      "aten::bincount", "aten::unique_consecutive", "aten::masked_scatter"};
  if (kDependent.contains(op.schema().name())) return true;
  if (op.schema().name() == "aten::repeat_interleave" && op.schema().overload_name() == "Tensor") return true;
  for (const auto& value : torch::jit::last(stack, op.schema().arguments().size())) {
    if (!value.isOptionalTensorList()) continue;
    for (const std::optional<Tensor>& index : value.toOptionalTensorVector()) {
      if (index && index->defined() && (index->scalar_type() == at::kBool || index->scalar_type() == at::kByte)) {
        return true;
      }
    }
  }
  return false;
}

void fallback(const OperatorHandle& op, Stack* stack) {
  if (waits_for(op, *stack)) waits.add(op.schema().name());
  const Inside inside;
  const size_t count = op.schema().arguments().size();
  for (auto& value : torch::jit::last(*stack, count)) {
    if (value.isTensor()) check(op, value.toTensor());
    if (value.isTensorList()) {
      for (const Tensor& tensor : value.toTensorVector()) check(op, tensor);
    }
    if (value.isOptionalTensorList()) {
      for (const std::optional<Tensor>& tensor : value.toOptionalTensorVector()) {
        if (tensor) check(op, *tensor);
      }
    }
  }
  // The operator's result goes where its first tensor is.
  for (size_t i = stack->size() - count; i < stack->size(); ++i) {
    torch::jit::IValue& value = (*stack)[i];
    if (value.isTensor() && value.toTensor().defined() && !is_ours(value.toTensor())) {
      value = value.toTensor().to(kDevice);
    }
  }
  at::native::cpu_fallback(op, stack);
}

Tensor convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                   c10::SymIntArrayRef stride, c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation,
                   bool transposed, c10::SymIntArrayRef output_padding, c10::SymInt groups) {
  const Inside inside;
  TORCH_CHECK(is_ours(input) && is_ours(weight), "A convolution of two devices.");
  const std::optional<Tensor> own = bias && bias->defined() ? std::optional(on_host(*bias)) : std::nullopt;
  return at::convolution_symint(on_host(input), on_host(weight), own, stride, padding, dilation, transposed,
                                output_padding, groups)
      .to(kDevice);
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(const Tensor& gradient, const Tensor& input,
                                                        const Tensor& weight, c10::SymIntArrayRef stride,
                                                        c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation,
                                                        bool transposed, c10::SymIntArrayRef output_padding,
                                                        c10::SymInt groups, std::array<bool, 3> wanted) {
  const Inside inside;
  TORCH_CHECK(is_ours(gradient) && is_ours(input) && is_ours(weight), "A convolution of two devices.");
  const auto outputs = static_cast<int64_t>(weight.size(0));
  const auto [of_input, of_weight, of_bias] = at::convolution_backward_symint(
      on_host(gradient), on_host(input), on_host(weight), c10::SymIntArrayRef({c10::SymInt(outputs)}), stride, padding,
      dilation, transposed, output_padding, groups, wanted);
  const auto move = [](const Tensor& tensor) { return tensor.defined() ? tensor.to(kDevice) : tensor; };
  return {move(of_input), move(of_weight), move(of_bias)};
}

/// By hand: its running statistics change in place, and the schema does not say so.
std::tuple<Tensor, Tensor, Tensor> batch_norm(const Tensor& input, const std::optional<Tensor>& weight,
                                              const std::optional<Tensor>& bias, const std::optional<Tensor>& mean,
                                              const std::optional<Tensor>& variance, bool training, double momentum,
                                              double epsilon) {
  const Inside inside;
  const auto host = [](const std::optional<Tensor>& tensor) {
    TORCH_CHECK(!tensor || !tensor->defined() || is_ours(*tensor), "A batch norm of two devices.");
    return tensor ? std::optional(on_host(*tensor)) : std::nullopt;
  };
  const auto [result, saved_mean, saved_deviation] = at::native_batch_norm(
      on_host(input), host(weight), host(bias), host(mean), host(variance), training, momentum, epsilon);
  return {result.to(kDevice), saved_mean.to(kDevice), saved_deviation.to(kDevice)};
}

/// By hand: LibTorch's own for devices without a kernel warns of a result that it resizes, every time.
Tensor mse_loss(const Tensor& a, const Tensor& b, int64_t reduction) {
  const Inside inside;
  TORCH_CHECK(is_ours(a) && is_ours(b), "A loss of two devices.");
  return at::mse_loss(on_host(a), on_host(b), reduction).to(kDevice);
}

at::Scalar item(const Tensor& tensor) {
  waits.add("item");
  return on_host(tensor).item();
}

void register_waits(Napi::Env env, Napi::Object exports) {
  const auto take = [](const Napi::CallbackInfo& call) -> Napi::Value {
    Napi::Array list = Napi::Array::New(call.Env());
    for (const std::string& each : waits.take()) list.Set(list.Length(), each);
    return list;
  };
  exports.Set("takeWaits", Napi::Function::New(env, take, "takeWaits"));
}

const bool registered = (binding::further().push_back(&register_waits), true);

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("_copy_from", &copy_from);
  library.impl("_copy_from_and_resize", &copy_from_and_resize);
  library.impl("_local_scalar_dense", &item);
  library.impl("resize_", &resize_);
  library.impl("view", &at::native::view);
  library.impl("_reshape_alias", &at::native::_reshape_alias);
  library.impl("as_strided", &at::native::as_strided_tensorimpl);
  library.impl("unfold", &at::native::unfold);
  library.impl("convolution_overrideable", &convolution);
  library.impl("convolution_backward_overrideable", &convolution_backward);
  library.impl("native_batch_norm", &batch_norm);
  library.impl("mse_loss", &mse_loss);
}

}  // namespace

KernelAccess::KernelAccess() { memory.permit(true); }
KernelAccess::~KernelAccess() { memory.permit(false); }

bool on_test_device(const Tensor& tensor) { return is_ours(tensor); }

size_t waits_so_far() { return waits.count(); }

size_t uploads_so_far() { return uploads; }

}  // namespace soundspot::testing
