// The numbers of joint slot attention and its decoders. Defaults are the paper's; src/config/methods.ts validates them.
#pragma once

#include "encoders/config.h"

namespace soundspot::slot_attention {

struct SlotAttentionConfig {
  int64_t dim = 512;         // D, features of a token and of a slot
  int64_t target_slots = 1;  // slots 0 … target_slots − 1
  int64_t off_target_slots = 1;
  bool shared_slots = true;   // one set of initial slots for both modalities
  int64_t iterations = 5;     // L
  int64_t mlp_hidden = 1024;  // hidden units of the slot MLP (Eq. 6)
  int64_t decoder_hidden = 512;
  int64_t decoder_layers = 3;  // hidden layers of each decoder
  double mask_probability = 0.1;
  int64_t image_side = 7;     // image tokens per side
  int64_t audio_tokens = 16;  // audio tokens

  int64_t slots() const { return target_slots + off_target_slots; }

  static SlotAttentionConfig of(const encoders::ModelConfig& config) {
    const encoders::MethodConfig& own = config.method;
    return {.dim = config.dim,
            .target_slots = own.integer("targetSlots"),
            .off_target_slots = own.integer("offTargetSlots"),
            .shared_slots = own.flag("sharedSlots"),
            .iterations = own.integer("iterations"),
            .mlp_hidden = own.integer("mlpHidden"),
            .decoder_hidden = own.integer("decoderHidden"),
            .decoder_layers = own.integer("decoderLayers"),
            .mask_probability = own.number("maskProbability"),
            .image_side = config.image_tokens_per_side(),
            .audio_tokens = config.audio_tokens()};
  }
};

}  // namespace soundspot::slot_attention
