// Spatial broadcast decoders: slots back to the encoder's tokens, for the loss reconstruction. Training only.
#pragma once

#include "core/initialize.h"
#include "slot_attention/config.h"

namespace soundspot::slot_attention {

class Decoder {
 public:
  static Decoder image(const SlotAttentionConfig& config);
  static Decoder audio(const SlotAttentionConfig& config);

  void initialize(core::Initializer& initializer) const;

  /// Un-normalised slots [B, S, D] → reconstructed tokens [B, N, D], N = rows × columns.
  Tensor forward(const core::Parameters& parameters, const Tensor& slots) const;

 private:
  Decoder(std::string name, int64_t rows, int64_t columns, const SlotAttentionConfig& config);

  std::string name_;
  int64_t rows_, columns_, dim_, hidden_, layers_;
};

}  // namespace soundspot::slot_attention
