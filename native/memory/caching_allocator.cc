#include "memory/caching_allocator.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <cstring>
#include <mutex>
#include <unordered_map>

#include "torch.h"

namespace soundspot::memory {

namespace {

constexpr size_t kHeader = 64;                   // before each block, as large as LibTorch's alignment
constexpr size_t kSmallest = size_t{256} << 10;  // smaller blocks are left to the C library
constexpr size_t kMostKept = size_t{4} << 30;    // bytes of free blocks

/// Sizes are rounded up to eighths of a power of two, so that batches of nearly one size share blocks.
size_t rounded(size_t bytes) {
  size_t step = kSmallest / 8;
  while (step * 16 <= bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

class CachingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, nullptr, &release, c10::Device(c10::kCPU)};
    const size_t size = bytes < kSmallest ? bytes : rounded(bytes);
    char* base = size < kSmallest ? nullptr : take(size);
    if (!base) base = static_cast<char*>(c10::alloc_cpu(size + kHeader));
    std::memcpy(base, &size, sizeof(size));
    char* block = base + kHeader;
    return {block, block, &release, c10::Device(c10::kCPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }

  static CachingAllocator& instance() {
    // Never destroyed: tensors may outlive everything else at exit.
    static auto* allocator = new CachingAllocator;
    return *allocator;
  }

 private:
  static void release(void* block) {
    if (!block) return;
    char* base = static_cast<char*>(block) - kHeader;
    size_t size = 0;
    std::memcpy(&size, base, sizeof(size));
    if (size < kSmallest || !instance().keep(base, size)) c10::free_cpu(base);
  }

  char* take(size_t size) {
    const std::lock_guard lock(mutex_);
    auto& free = free_[size];
    if (free.empty()) return nullptr;
    char* base = free.back();
    free.pop_back();
    kept_ -= size;
    return base;
  }

  bool keep(char* base, size_t size) {
    const std::lock_guard lock(mutex_);
    if (kept_ + size > kMostKept) return false;
    free_[size].push_back(base);
    kept_ += size;
    return true;
  }

  std::mutex mutex_;
  std::unordered_map<size_t, std::vector<char*>> free_;
  size_t kept_ = 0;
};

}  // namespace

void keep_large_blocks() {
  static std::once_flag once;
  std::call_once(once, [] { c10::SetCPUAllocator(&CachingAllocator::instance(), /*priority=*/1); });
}

}  // namespace soundspot::memory
