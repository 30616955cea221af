// Initial values, as PyTorch and the published model draw them, from one seeded generator.
#pragma once

#include <optional>

#include "core/parameters.h"

namespace soundspot::core {

/// Adds parameters with fresh values to a store; every draw comes from `generator`, in the order of the calls, on the
/// CPU: a seed gives the same weights on every device. Without one what would be drawn is left as memory has it, to be
/// loaded; on the meta device only names and shapes are made.
class Initializer {
 public:
  Initializer(Parameters& parameters, std::optional<at::Generator> generator, at::Device device)
      : parameters_(parameters), generator_(std::move(generator)), options_(at::device(device).dtype(at::kFloat)) {}

  /// Convolution weight [out, in, size, size], Kaiming normal by fan-out; a bias, if any, U(±1/√fan_in).
  void convolution(const std::string& name, int64_t out, int64_t in, int64_t size, bool bias);
  /// Weight 1, or N(1, 0.02) where `normal`; bias 0, running mean 0, running variance 1.
  void batch_norm(const std::string& name, int64_t channels, bool normal = false);
  void layer_norm(const std::string& name, int64_t features);
  /// Weight [out, in] and bias, both U(±1/√in).
  void linear(const std::string& name, int64_t out, int64_t in);
  /// Weight [out, in] N(0, 0.01), bias U(±1/√in).
  void narrow_linear(const std::string& name, int64_t out, int64_t in);
  /// GRU cell: weight_ih and weight_hh [3·dim, dim] and their biases, U(±1/√dim).
  void gru(const std::string& name, int64_t dim);
  void normal(const std::string& name, at::IntArrayRef shape);   // N(0, 1)
  void uniform(const std::string& name, at::IntArrayRef shape);  // U(0, 1)
  /// Equal to the parameter or buffer that has that name without `prefix`, with memory of its own.
  void copy(const std::string& prefix, const std::string& name);

 private:
  Tensor draw_uniform(at::IntArrayRef shape, double low, double high) const;
  Tensor draw_normal(at::IntArrayRef shape, double deviation) const;

  Parameters& parameters_;
  std::optional<at::Generator> generator_;
  at::TensorOptions options_;
};

}  // namespace soundspot::core
