#include "memory/caching_allocator.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace soundspot::memory {

namespace {

constexpr size_t kHeader = 64;                   // before each block, as large as LibTorch's alignment
constexpr size_t kSmallest = size_t{256} << 10;  // smaller blocks are left to the C library
constexpr size_t kPage = 4096;
constexpr size_t kSegment = size_t{256} << 20;  // asked of the system at once; memory that is never touched costs none
constexpr size_t kMostKept = size_t{4} << 30;   // bytes of free blocks

/// Blocks are cut from large segments, lowest address first, and join their free neighbours again: what a step needs
/// stays near the sum of what lives at one time.
class CachingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, nullptr, &release, c10::Device(c10::kCPU)};
    const size_t size = (bytes + kHeader + kPage - 1) / kPage * kPage;
    Header header{.size = size};
    char* base = bytes < kSmallest ? small(bytes + kHeader) : take(size, header);
    std::memcpy(base, &header, sizeof(header));
    char* block = base + kHeader;
    return {block, block, &release, c10::Device(c10::kCPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }

  void give_back() {
    const std::lock_guard lock(mutex_);
    drop_free_segments();
  }

  size_t most_in_use(bool restart) {
    const std::lock_guard lock(mutex_);
    return restart ? std::exchange(most_, used_) : most_;
  }

  static CachingAllocator& instance() {
    // Never destroyed: tensors may outlive everything else at exit.
    static auto* allocator = new CachingAllocator;
    return *allocator;
  }

 private:
  struct Segment {
    char* base;
    size_t size, used = 0;
  };
  struct Header {
    size_t size;
    Segment* segment = nullptr;  // null: of the C library
  };
  static_assert(sizeof(Header) <= kHeader);
  struct Free {
    size_t size;
    Segment* segment;
  };

  static void release(void* block) {
    if (!block) return;
    char* base = static_cast<char*>(block) - kHeader;
    Header header;
    std::memcpy(&header, base, sizeof(header));
    if (header.segment) {
      instance().give(base, header);
    } else {
      c10::free_cpu(base);
    }
  }

  /// @throws c10::Error when there is no memory.
  char* small(size_t bytes) {
    try {
      return static_cast<char*>(c10::alloc_cpu(bytes));
    } catch (const c10::Error&) {
      const std::lock_guard lock(mutex_);
      return of_system(bytes);
    }
  }

  /// Asks the system, a second time without the free segments. Until the next success no free segment is kept: what
  /// failed gives all its memory back, and whatever else is in this process finds some.
  /// @throws c10::Error when there is no memory.
  char* of_system(size_t bytes) {
    try {
      char* base = static_cast<char*>(c10::alloc_cpu(bytes));
      scarce_ = false;
      return base;
    } catch (const c10::Error&) {
      drop_free_segments();
      return static_cast<char*>(c10::alloc_cpu(bytes));
    }
  }

  void drop_free_segments() {
    scarce_ = true;
    for (size_t i = segments_.size(); i-- > 0;) {
      if (segments_[i]->used == 0) drop(segments_[i].get());
    }
  }

  /// @throws c10::Error when there is no memory.
  char* take(size_t size, Header& header) {
    const std::lock_guard lock(mutex_);
    auto found = std::find_if(free_.begin(), free_.end(), [&](const auto& free) { return free.second.size >= size; });
    if (found == free_.end()) found = grow(size);
    char* base = found->first;
    const Free free = found->second;
    free_.erase(found);
    if (free.size > size) free_[base + size] = {free.size - size, free.segment};
    free.segment->used += size;
    used_ += size;
    most_ = std::max(most_, used_);
    kept_ -= size;
    header.segment = free.segment;
    return base;
  }

  std::map<char*, Free>::iterator grow(size_t size) {
    const size_t bytes = std::max(size, kSegment);
    auto segment = std::make_unique<Segment>(Segment{of_system(bytes), bytes});
    const auto added = free_.emplace(segment->base, Free{bytes, segment.get()}).first;
    segments_.push_back(std::move(segment));
    kept_ += bytes;
    return added;
  }

  void give(char* base, const Header& header) {
    const std::lock_guard lock(mutex_);
    Segment* const segment = header.segment;
    segment->used -= header.size;
    used_ -= header.size;
    kept_ += header.size;
    const auto joins = [](const auto& left, const auto& right) {
      return left.second.segment == right.second.segment && left.first + left.second.size == right.first;
    };
    auto added = free_.emplace(base, Free{header.size, segment}).first;
    if (const auto next = std::next(added); next != free_.end() && joins(*added, *next)) {
      added->second.size += next->second.size;
      free_.erase(next);
    }
    if (added != free_.begin()) {
      if (const auto before = std::prev(added); joins(*before, *added)) {
        before->second.size += added->second.size;
        free_.erase(added);
      }
    }
    if (segment->used == 0 && (scarce_ || kept_ > kMostKept)) drop(segment);
  }

  void drop(Segment* segment) {
    free_.erase(segment->base);
    kept_ -= segment->size;
    c10::free_cpu(segment->base);
    std::erase_if(segments_, [&](const auto& each) { return each.get() == segment; });
  }

  std::mutex mutex_;
  std::map<char*, Free> free_;  // by address
  std::vector<std::unique_ptr<Segment>> segments_;
  size_t kept_ = 0;      // bytes of free blocks
  size_t used_ = 0;      // bytes of the others
  size_t most_ = 0;      // that `used_` was
  bool scarce_ = false;  // the system had no memory the last time
};

}  // namespace

void keep_large_blocks() {
  static std::once_flag once;
  std::call_once(once, [] { c10::SetCPUAllocator(&CachingAllocator::instance(), /*priority=*/1); });
}

size_t most_in_use(bool restart) { return CachingAllocator::instance().most_in_use(restart); }

void give_back_free_blocks() { CachingAllocator::instance().give_back(); }

}  // namespace soundspot::memory
