// Batch norm + residual + ReLU.
#include <condition_variable>
#include <mutex>
#include <thread>

#include "host_kernels.h"
#include "kernels/cuda/batch_norm_function.h"

namespace soundspot::testing {
namespace {

using distributed::Peers;
using distributed::PeersPointer;
using kernels::cuda::Host;

/// Two threads that share a batch.
struct Meeting {
  std::mutex mutex;
  std::condition_variable arrived;
  Tensor of[2];
  int count = 0;
  int64_t round = 0;
  Tensor joined;

  /// What both brought, by `join`.
  Tensor meet(int64_t rank, const Tensor& own, const std::function<Tensor(const Tensor&, const Tensor&)>& join) {
    std::unique_lock lock(mutex);
    of[rank] = own.clone();
    const int64_t current = round;
    if (++count == 2) {
      joined = join(of[0], of[1]);
      count = 0;
      ++round;
      arrived.notify_all();
    } else {
      arrived.wait(lock, [&] { return round != current; });
    }
    return joined;
  }
};

class Pair final : public Peers {
 public:
  Pair(Meeting& meeting, int64_t rank) : meeting_(meeting), rank_(rank) {}
  int64_t rank() const override { return rank_; }
  int64_t size() const override { return 2; }
  void sum(const Tensor& values) override {
    Tensor(values).copy_(meeting_.meet(rank_, values, [](const Tensor& a, const Tensor& b) { return a + b; }));
  }
  Tensor gather(const Tensor& rows) override {
    return meeting_.meet(rank_, rows, [](const Tensor& a, const Tensor& b) { return at::cat({a, b}); });
  }

 private:
  Meeting& meeting_;
  const int64_t rank_;
};

constexpr double kMomentum = 0.1, kEpsilon = 1e-5, kEdge = 1e-3;

Comparisons batch_norm(const Case& of) {
  const int64_t batch = of.of("batch"), channels = of.of("channels"), height = of.of("height"), width = of.of("width");
  const bool relu = of.flag("relu"), fixed = of.flag("fixed"), shared = of.flag("shared");
  const auto last = [](const Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); };
  // Means far from 0: what cancels in a sum of squares.
  const Tensor values = at::randn({batch, channels, height, width}) + 30 * at::randn({1, channels, 1, 1});
  const Leaf x(last(values).to(of.type())), weight(at::randn({channels})), bias(at::randn({channels}));
  std::optional<Leaf> residual;
  if (of.flag("residual")) residual.emplace(last(at::randn(values.sizes())).to(of.type()));
  const Tensor mean = at::randn({channels}), variance = at::rand({channels}) + 0.5;
  const Tensor exact_mean = mean.to(at::kDouble), exact_variance = variance.to(at::kDouble);

  const Tensor normed =
      at::batch_norm(x.exact, weight.exact, bias.exact, exact_mean, exact_variance, !fixed, kMomentum, kEpsilon, false);
  const Tensor sum = residual ? normed + residual->exact : normed, exact = relu ? sum.relu() : sum;
  // Within rounding of ReLU's edge the gradient of either side is right: such places get none.
  const Tensor clear = (sum.detach().abs() > kEdge).logical_or(at::full({}, !relu));
  Tensor y;
  if (!shared) {
    y = kernels::cuda::batch_norm_by<Host>(x.own, {weight.own, bias.own, mean, variance, kMomentum, kEpsilon, {}},
                                           residual ? residual->own : Tensor(), relu, fixed);
  } else {
    // Each half of the batch on its own thread, forward and backward; the results are compared here.
    Meeting meeting;
    const Tensor weights = at::randn(values.sizes()) * clear;
    struct Half {
      Tensor y, dx, dw, db, mean, variance;
    } halves[2];
    std::vector<std::thread> threads;
    for (int64_t rank = 0; rank < 2; ++rank) {
      threads.emplace_back([&, rank] {
        const int64_t half = batch / 2;
        const PeersPointer peers = c10::make_intrusive<Pair>(meeting, rank);
        const auto part = [&](const Tensor& whole) {
          return last(whole.detach().narrow(0, rank * half, half)).set_requires_grad(true);
        };
        Half& own = halves[rank];
        own.mean = mean.clone();
        own.variance = variance.clone();
        const Tensor in = part(x.own), w = weight.own.detach().clone().set_requires_grad(true),
                     b = bias.own.detach().clone().set_requires_grad(true);
        own.y = kernels::cuda::batch_norm_by<Host>(
            in, {w, b, own.mean, own.variance, kMomentum, kEpsilon, peers},
            residual ? residual->own.detach().narrow(0, rank * half, half) : Tensor(), relu, fixed);
        (own.y.to(at::kFloat) * weights.narrow(0, rank * half, half)).sum().backward();
        own.dx = in.grad();
        own.dw = w.grad();
        own.db = b.grad();
      });
    }
    for (std::thread& thread : threads) thread.join();
    (exact * weights.to(at::kDouble)).sum().backward();
    return {{"y", at::cat({halves[0].y, halves[1].y}), exact},
            {"dx", at::cat({halves[0].dx, halves[1].dx}), x.exact.grad()},
            {"d weight", halves[0].dw + halves[1].dw, weight.exact.grad()},
            {"d bias", halves[0].db + halves[1].db, bias.exact.grad()},
            {"running mean", halves[0].mean, exact_mean},
            {"running variance", halves[1].variance, exact_variance}};
  }
  Comparisons list;
  std::vector<std::pair<std::string, Leaf>> leaves{{"x", x}, {"weight", weight}, {"bias", bias}};
  if (residual) leaves.emplace_back("residual", *residual);
  compare_all(list, {{"clear y", {y * clear, exact * clear}}}, leaves);
  list.push_back({"y", y, exact});
  list.push_back({"running mean", mean, exact_mean});
  list.push_back({"running variance", variance, exact_variance});
  return list;
}

const RegisterComparison registered("batchNorm", batch_norm);

}  // namespace
}  // namespace soundspot::testing
