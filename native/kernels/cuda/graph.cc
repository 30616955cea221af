#include "kernels/cuda/graph.h"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>

#include <cstdlib>
#include <string_view>

namespace soundspot::kernels::cuda {

namespace {

class Graph final : public Recording {
 public:
  Graph(at::Device device, const std::function<void()>& work, const Graph* beside) : device_(device) {
    const c10::cuda::CUDAGuard on_it(device);
    const c10::cuda::CUDAStream before = c10::cuda::getCurrentCUDAStream(device.index());
    const c10::cuda::CUDAStream own = c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index());
    const c10::cuda::CUDAStreamGuard guard(own);
    // The first call also lets libraries take memory and load code for the stream, which a recording must not hold.
    before.synchronize();
    work();
    own.synchronize();
    graph_.capture_begin(beside != nullptr ? beside->pool_ : at::cuda::MempoolId_t{0, 0},
                         cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      end_failed();
      throw;
    }
    graph_.capture_end();
    pool_ = graph_.pool();
  }

  void replay() override {
    const c10::cuda::CUDAGuard on_it(device_);
    graph_.replay();
  }

 private:
  /// A capture that fails must be ended, and leaves an error that the next call would meet.
  void end_failed() {
    try {
      graph_.capture_end();
    } catch (const std::exception&) {
      static_cast<void>(cudaGetLastError());
    }
  }

  const at::Device device_;
  at::cuda::CUDAGraph graph_;
  at::cuda::MempoolId_t pool_;
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
