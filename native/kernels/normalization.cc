#include "kernels/normalization.h"

#include <algorithm>
#include <cmath>

#include "core/parts.h"
#include "kernels/cpu/kernels.h"
#include "kernels/device.h"
#include "kernels/rows.h"

namespace soundspot::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Rows that one thread sums before sums are joined: fixed, so that results do not depend on the number of threads.
constexpr int64_t kRows = 2048;

/// Calls `work` with the memory type of `x` and the kernels for it.
template <class Work>
void with_kernels(const Tensor& x, const Work& work) {
  if (x.scalar_type() == at::kBFloat16) return work(bfloat16_bits{}, kernels().half);
  TORCH_CHECK(x.scalar_type() == at::kFloat, "float32 or bfloat16 was expected, not ", x.scalar_type());
  work(float{}, kernels().full);
}

template <class Number>
const Number* read(const Tensor& x) {
  return x.defined() ? static_cast<const Number*>(x.const_data_ptr()) : nullptr;
}

template <class Number>
Number* write(const Tensor& x) {
  return x.defined() ? static_cast<Number*>(x.mutable_data_ptr()) : nullptr;
}

/// `work(chunk, first row, rows)` over the rows of a channels-last tensor.
template <class Work>
void over_rows(int64_t rows, const Work& work) {
  core::in_parts((rows + kRows - 1) / kRows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      work(chunk, chunk * kRows, std::min(kRows, rows - chunk * kRows));
    }
  });
}

struct Moments {
  Tensor mean, variance;  // [C], biased
  int64_t rows = 0;       // that they are of
};

/// Means and sums of squares around them, each of its own rows, joined (Chan, Golub and LeVeque, 1979).
class Joined {
 public:
  void add(double mean, double squares, double count) {
    const double apart = mean - mean_, all = count_ + count;
    mean_ += apart * count / all;
    squares_ += squares + apart * apart * count_ * count / all;
    count_ = all;
  }
  double mean() const { return mean_; }
  double squares() const { return squares_; }
  double count() const { return count_; }

 private:
  double mean_ = 0, squares_ = 0, count_ = 0;
};

Moments moments(const Tensor& x, const distributed::PeersPointer& peers) {
  const int64_t channels = x.size(1), rows = x.numel() / channels, chunks = (rows + kRows - 1) / kRows;
  const auto options = x.options().dtype(at::kDouble).memory_format(at::MemoryFormat::Contiguous);
  const Tensor means = at::empty({chunks, channels}, options), squares = at::empty({chunks, channels}, options);
  with_kernels(x, [&](auto type, const auto& run) {
    using Number = decltype(type);
    over_rows(rows, [&](int64_t chunk, int64_t first, int64_t count) {
      run.moments(read<Number>(x) + first * channels, count, channels, write<double>(means) + chunk * channels,
                  write<double>(squares) + chunk * channels);
    });
  });
  std::vector<Joined> joined(static_cast<size_t>(channels));
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const auto count = static_cast<double>(std::min(kRows, rows - chunk * kRows));
    for (int64_t c = 0; c < channels; ++c) {
      joined[static_cast<size_t>(c)].add(read<double>(means)[chunk * channels + c],
                                         read<double>(squares)[chunk * channels + c], count);
    }
  }
  if (peers) {
    const Tensor own = at::empty({1, 3, channels}, options);
    double* const values = write<double>(own);
    for (int64_t c = 0; c < channels; ++c) {
      const Joined& each = joined[static_cast<size_t>(c)];
      values[c] = each.mean();
      values[channels + c] = each.squares();
      values[2 * channels + c] = each.count();
    }
    const Tensor all = peers->gather(own);
    for (int64_t c = 0; c < channels; ++c) {
      Joined& each = joined[static_cast<size_t>(c)] = Joined();
      for (int64_t rank = 0; rank < peers->size(); ++rank) {
        const double* const of = read<double>(all) + rank * 3 * channels + c;
        each.add(of[0], of[channels], of[2 * channels]);
      }
    }
  }
  Moments result{at::empty({channels}, options.dtype(at::kFloat)), at::empty({channels}, options.dtype(at::kFloat)),
                 static_cast<int64_t>(joined.front().count())};
  for (int64_t c = 0; c < channels; ++c) {
    const Joined& each = joined[static_cast<size_t>(c)];
    write<float>(result.mean)[c] = static_cast<float>(each.mean());
    write<float>(result.variance)[c] = static_cast<float>(each.squares() / each.count());
  }
  return result;
}

class BatchNormFunction : public torch::autograd::Function<BatchNormFunction> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& input, const Tensor& weight, const Tensor& bias,
                        const Tensor& running_mean, const Tensor& running_var, const std::optional<Tensor>& residual,
                        bool relu, double momentum, double epsilon, const distributed::PeersPointer& peers) {
    const Tensor x = channels_last(input), added = residual ? channels_last(*residual) : Tensor();
    const int64_t channels = x.size(1), rows = x.numel() / channels;
    const auto [mean, variance, counted] = moments(x, peers);
    const double unbiased = counted > 1 ? static_cast<double>(counted) / static_cast<double>(counted - 1) : 1.0;
    Tensor(running_mean).mul_(1 - momentum).add_(mean, momentum);
    Tensor(running_var).mul_(1 - momentum).add_(variance, momentum * unbiased);

    const Tensor inverse = at::rsqrt(variance + epsilon), scale = weight * inverse, shift = bias - mean * scale;
    const Tensor y = at::empty_like(x);
    with_kernels(x, [&](auto type, const auto& run) {
      using Number = decltype(type);
      over_rows(rows, [&](int64_t, int64_t first, int64_t count) {
        const int64_t at = first * channels;
        run.normalize(read<Number>(x) + at, read<float>(scale), read<float>(shift),
                      added.defined() ? read<Number>(added) + at : nullptr, relu, count, channels,
                      write<Number>(y) + at);
      });
    });
    context->save_for_backward({x, weight, mean, inverse, relu ? y : Tensor()});
    context->saved_data["residual"] = residual.has_value();
    context->saved_data["rows"] = counted;
    if (peers) context->saved_data["peers"] = c10::IValue::make_capsule(peers);
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &mean = saved[2], &inverse = saved[3], &y = saved[4];
    const Tensor gradient = channels_last(gradients[0].to(x.scalar_type()));
    const int64_t channels = x.size(1), rows = x.numel() / channels, chunks = (rows + kRows - 1) / kRows;

    const int64_t counted = context->saved_data["rows"].toInt();
    const auto found = context->saved_data.find("peers");

    const Tensor partial = at::empty({2, chunks, channels}, mean.options().dtype(at::kDouble));
    const Tensor dx = at::empty_like(x);
    const Tensor passed = context->saved_data["residual"].toBool() ? at::empty_like(x) : Tensor();
    Tensor sums, products;
    with_kernels(x, [&](auto type, const auto& run) {
      using Number = decltype(type);
      const auto from = [](const Tensor& tensor, int64_t at) {
        return tensor.defined() ? read<Number>(tensor) + at : nullptr;
      };
      over_rows(rows, [&](int64_t chunk, int64_t first, int64_t count) {
        const int64_t at = first * channels;
        run.gradient_sums(from(x, at), from(gradient, at), from(y, at), read<float>(mean), count, channels,
                          write<double>(partial) + chunk * channels,
                          write<double>(partial) + (chunks + chunk) * channels);
      });
      Tensor totals = partial.sum(1);
      sums = totals[0].to(at::kFloat);
      products = totals[1].to(at::kFloat);
      if (found != context->saved_data.end()) {
        c10::static_intrusive_pointer_cast<distributed::Peers>(found->second.toCapsule())->sum(totals);
      }
      totals = (totals / counted).to(at::kFloat);
      const Tensor offset = totals[0], slope = totals[1] * inverse * inverse, scale = weight * inverse;
      over_rows(rows, [&](int64_t, int64_t first, int64_t count) {
        const int64_t at = first * channels;
        run.denormalize(from(x, at), from(gradient, at), from(y, at), read<float>(mean), read<float>(scale),
                        read<float>(offset), read<float>(slope), count, channels, write<Number>(dx) + at,
                        passed.defined() ? write<Number>(passed) + at : nullptr);
      });
    });
    return {dx, products * inverse, sums, {}, {}, passed, {}, {}, {}, {}};
  }
};

/// `work(sample, first row, end row)` over the rows of images of `height` rows.
template <class Work>
void over_images(int64_t batch, int64_t height, const Work& work) {
  core::in_parts(batch * height, 1, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t sample = begin / height, first = begin % height, until = std::min(height, first + end - begin);
      work(sample, first, until);
      begin += until - first;
    }
  });
}

class MaxPoolFunction : public torch::autograd::Function<MaxPoolFunction> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& input) {
    const Tensor x = channels_last(input);
    const int64_t batch = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
    const int64_t rows = (height + 1) / 2, columns = (width + 1) / 2;
    const Tensor y = at::empty({batch, channels, rows, columns}, x.options(), at::MemoryFormat::ChannelsLast);
    const Tensor index = at::empty({batch, rows, columns, channels}, x.options().dtype(at::kByte));
    with_kernels(x, [&](auto type, const auto& run) {
      using Number = decltype(type);
      over_images(batch, rows, [&](int64_t sample, int64_t first, int64_t end) {
        const int64_t at = sample * rows * columns * channels;
        run.max_pool(read<Number>(x) + sample * height * width * channels, height, width, channels,
                     write<Number>(y) + at, write<uint8_t>(index) + at, first, end);
      });
    });
    context->save_for_backward({index});
    context->saved_data["sizes"] = x.sizes();
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const Tensor index = context->get_saved_variables()[0], gradient = channels_last(gradients[0]);
    const std::vector<int64_t> sizes = context->saved_data["sizes"].toIntVector();
    const int64_t batch = sizes[0], channels = sizes[1], height = sizes[2], width = sizes[3];
    const Tensor dx = at::empty(sizes, gradient.options(), at::MemoryFormat::ChannelsLast);
    with_kernels(gradient, [&](auto type, const auto& run) {
      using Number = decltype(type);
      over_images(batch, height, [&](int64_t sample, int64_t first, int64_t end) {
        const int64_t at = sample * (gradient.numel() / batch);
        run.max_pool_gradient(read<Number>(gradient) + at, read<uint8_t>(index) + at, height, width, channels,
                              write<Number>(dx) + sample * height * width * channels, first, end);
      });
    });
    return {dx};
  }
};

}  // namespace

Tensor batch_norm(const Tensor& x, const BatchNorm& norm, const Tensor& residual, bool relu) {
  if (const DeviceKernels* const own = kernels_of(x.device())) {
    return own->batch_norm(x, norm, residual, relu, /*fixed=*/false);
  }
  const std::optional<Tensor> added = residual.defined() ? std::optional(residual) : std::nullopt;
  return BatchNormFunction::apply(x, norm.weight, norm.bias, norm.running_mean, norm.running_var, added, relu,
                                  norm.momentum, norm.epsilon, norm.peers);
}

Tensor max_pool(const Tensor& x) { return x.is_cpu() ? MaxPoolFunction::apply(x) : at::max_pool2d(x, 3, 2, 1); }

}  // namespace soundspot::kernels
