#include "core/initialize.h"

#include <cmath>

namespace soundspot::core {

namespace {

/// Not filled, in the memory order of parameters, which would otherwise be copied into it. Of one channel or one pixel
/// the two orders are one, and the strides stay those of the first.
Tensor unfilled(at::IntArrayRef shape, const at::TensorOptions& options) {
  const bool differ = shape.size() == 4 && shape[1] > 1 && shape[2] * shape[3] > 1;
  return at::empty(shape, options, differ ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
}

}  // namespace

Tensor Initializer::draw_uniform(at::IntArrayRef shape, double low, double high) const {
  if (!generator_) return unfilled(shape, options_);
  return at::empty(shape, at::kFloat).uniform_(low, high, generator_).to(options_.device());
}

Tensor Initializer::draw_normal(at::IntArrayRef shape, double deviation) const {
  if (!generator_) return unfilled(shape, options_);
  return at::empty(shape, at::kFloat).normal_(0, deviation, generator_).to(options_.device());
}

void Initializer::convolution(const std::string& name, int64_t out, int64_t in, int64_t size, bool bias) {
  const double deviation = std::sqrt(2.0 / static_cast<double>(out * size * size));
  parameters_.add(name + ".weight", draw_normal({out, in, size, size}, deviation));
  if (bias) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(in * size * size));
    parameters_.add(name + ".bias", draw_uniform({out}, -bound, bound));
  }
}

void Initializer::batch_norm(const std::string& name, int64_t channels, bool normal) {
  if (normal) {
    parameters_.add(name + ".weight", draw_normal({channels}, 0.02).add_(1));
    parameters_.add(name + ".bias", at::zeros({channels}, options_));
  } else {
    layer_norm(name, channels);
  }
  parameters_.add(name + ".running_mean", at::zeros({channels}, options_), false);
  parameters_.add(name + ".running_var", at::ones({channels}, options_), false);
  parameters_.add(name + ".num_batches_tracked", at::zeros({}, options_.dtype(at::kLong)), false);
}

void Initializer::layer_norm(const std::string& name, int64_t features) {
  parameters_.add(name + ".weight", at::ones({features}, options_));
  parameters_.add(name + ".bias", at::zeros({features}, options_));
}

void Initializer::linear(const std::string& name, int64_t out, int64_t in) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(in));
  parameters_.add(name + ".weight", draw_uniform({out, in}, -bound, bound));
  parameters_.add(name + ".bias", draw_uniform({out}, -bound, bound));
}

void Initializer::narrow_linear(const std::string& name, int64_t out, int64_t in) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(in));
  parameters_.add(name + ".weight", draw_normal({out, in}, 0.01));
  parameters_.add(name + ".bias", draw_uniform({out}, -bound, bound));
}

void Initializer::copy(const std::string& prefix, const std::string& name) {
  const Tensor& original = parameters_[name];
  parameters_.add(prefix + name, original.detach().clone(), original.requires_grad());
}

void Initializer::gru(const std::string& name, int64_t dim) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(dim));
  for (const char* part : {".weight_ih", ".weight_hh"})
    parameters_.add(name + part, draw_uniform({3 * dim, dim}, -bound, bound));
  for (const char* part : {".bias_ih", ".bias_hh"})
    parameters_.add(name + part, draw_uniform({3 * dim}, -bound, bound));
}

void Initializer::normal(const std::string& name, at::IntArrayRef shape) {
  parameters_.add(name, draw_normal(shape, 1));
}

void Initializer::uniform(const std::string& name, at::IntArrayRef shape) {
  parameters_.add(name, draw_uniform(shape, 0, 1));
}

}  // namespace soundspot::core
