// What the fused kernels compute, as compositions of LibTorch's operators, on any device: in double to compare with, in
// the kernels' own types to time against.
#pragma once

#include "verify/kernels.h"

namespace soundspot::verify::reference {

constexpr double kMomentum = 0.1, kEpsilon = 1e-5;

/// Batch norm (the running statistics are updated, or with `fixed` used), plus a residual where there is one; ReLU.
Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& mean, const Tensor& variance,
                  const Tensor& residual, bool relu, bool fixed);

/// Eq. 3 and the normalization of Eq. 4: queries [B, S, D] on keys [B, N, D].
Tensor attention(const Tensor& queries, const Tensor& keys, double sharpening = 1);

struct SlotAttention {
  Tensor slots, queries, attention;
  double closest;  // the smallest magnitude before ReLU in the MLP
};

/// Eq. 1 to 6 on tokens after their layer norm.
SlotAttention slot_attention(const Tensor& tokens, const Tensor& initial, const kernels::SlotAttentionWeights& weights,
                             int64_t iterations, bool watch_edge = false);

Tensor matching(const Tensor& audio_on_image, const Tensor& image_on_image, const Tensor& image_on_audio,
                const Tensor& audio_on_audio, int64_t targets);

Tensor heatmap(const Tensor& target_rows, int64_t side, int64_t height, int64_t width, const kernels::MapResize& resize,
               const std::optional<std::pair<double, double>>& range);

}  // namespace soundspot::verify::reference
