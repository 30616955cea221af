#include "kernels/cuda/graph.h"

#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>

#include <cstdlib>
#include <string_view>

namespace soundspot::kernels::cuda {

namespace {

namespace allocator = c10::cuda::CUDACachingAllocator;

class Graph final : public Recording {
 public:
  Graph(at::Device device, const std::function<void()>& work, const Graph* beside)
      : device_(device), pool_(beside != nullptr ? beside->pool_ : at::cuda::graph_pool_handle()) {
    const c10::cuda::CUDAGuard on_it(device);
    const c10::cuda::CUDAStream before = c10::cuda::getCurrentCUDAStream(device.index());
    const c10::cuda::CUDAStream own = c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index());
    const c10::cuda::CUDAStreamGuard guard(own);
    // What another stream keeps for reuse would be missing here.
    before.synchronize();
    allocator::emptyCache();
    // The first call also lets libraries take memory and load code for the stream, which a recording must not hold.
    work();
    own.synchronize();
    allocator::emptyCache();
    try {
      graph_.capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
      work();
      graph_.capture_end();
    } catch (...) {
      abandon();
      throw;
    }
  }

  void replay() override {
    const c10::cuda::CUDAGuard on_it(device_);
    graph_.replay();
  }

 private:
  /// Ends a capture that failed. Where CUDA has ended it, LibTorch leaves its allocators recording.
  void abandon() {
    if (quietly([&] { graph_.capture_end(); })) return;
    quietly([&] { allocator::endAllocateToPool(device_.index(), pool_); });
    quietly([&] { allocator::releasePool(device_.index(), pool_); });
    const auto end_on_host = [&](auto* host) {
      if constexpr (requires { host->end_allocate_to_pool(pool_); }) {  // later versions of LibTorch
        quietly([&] { host->end_allocate_to_pool(pool_); });
        quietly([&] { host->release_pool(pool_); });
      }
    };
    end_on_host(at::getHostAllocator(at::kCUDA));
    static_cast<void>(cudaGetLastError());  // the next call would meet it
  }

  template <class Work>
  static bool quietly(const Work& work) {
    try {
      work();
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }

  const at::Device device_;
  const at::cuda::MempoolId_t pool_;
  at::cuda::CUDAGraph graph_;
};

bool wanted() {
  const char* const setting = std::getenv("SOUNDSPOT_CUDA_GRAPHS");
  return setting == nullptr || std::string_view(setting) != "0";
}

}  // namespace

std::unique_ptr<Recording> record_graph(at::Device device, const std::function<void()>& work, const Recording* beside) {
  if (!wanted()) return nullptr;
  return std::make_unique<Graph>(device, work, dynamic_cast<const Graph*>(beside));
}

}  // namespace soundspot::kernels::cuda
