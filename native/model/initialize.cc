#include "model/initialize.h"

#include <cmath>

namespace soundspot::model {

Tensor Initializer::draw_uniform(at::IntArrayRef shape, double bound) {
  return at::empty(shape, at::kFloat).uniform_(-bound, bound, generator_);
}

void Initializer::convolution(const std::string& name, int64_t out, int64_t in, int64_t size, bool bias) {
  const double deviation = std::sqrt(2.0 / static_cast<double>(out * size * size));
  parameters_.add(name + ".weight", at::empty({out, in, size, size}, at::kFloat).normal_(0, deviation, generator_));
  if (bias) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(in * size * size));
    parameters_.add(name + ".bias", draw_uniform({out}, bound));
  }
}

void Initializer::batch_norm(const std::string& name, int64_t channels) {
  layer_norm(name, channels);
  parameters_.add(name + ".running_mean", at::zeros({channels}, at::kFloat), false);
  parameters_.add(name + ".running_var", at::ones({channels}, at::kFloat), false);
  parameters_.add(name + ".num_batches_tracked", at::zeros({}, at::kLong), false);
}

void Initializer::layer_norm(const std::string& name, int64_t features) {
  parameters_.add(name + ".weight", at::ones({features}, at::kFloat));
  parameters_.add(name + ".bias", at::zeros({features}, at::kFloat));
}

void Initializer::linear(const std::string& name, int64_t out, int64_t in) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(in));
  parameters_.add(name + ".weight", draw_uniform({out, in}, bound));
  parameters_.add(name + ".bias", draw_uniform({out}, bound));
}

void Initializer::gru(const std::string& name, int64_t dim) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(dim));
  for (const char* part : {".weight_ih", ".weight_hh"})
    parameters_.add(name + part, draw_uniform({3 * dim, dim}, bound));
  for (const char* part : {".bias_ih", ".bias_hh"}) parameters_.add(name + part, draw_uniform({3 * dim}, bound));
}

void Initializer::normal(const std::string& name, at::IntArrayRef shape) {
  parameters_.add(name, at::empty(shape, at::kFloat).normal_(0, 1, generator_));
}

void Initializer::uniform(const std::string& name, at::IntArrayRef shape) {
  parameters_.add(name, at::empty(shape, at::kFloat).uniform_(0, 1, generator_));
}

}  // namespace soundspot::model
