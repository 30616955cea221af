// The numbers that shape a model. Defaults are the paper's; src/config/train.ts validates them before they come here.
#pragma once

#include "core/torch.h"
#include "signal/spectrogram.h"

namespace soundspot::model {

struct ModelConfig {
  int64_t image_size = 224;   // pixels a side
  int64_t image_stages = 4;   // residual stages of the image encoder, 1…4
  int64_t image_stride = 32;  // pixels a token: 4, 8, 16 or 32, at most 2^(stages + 1)
  int64_t image_width = 64;   // channels of the first stage; each further stage doubles them
  int64_t audio_stages = 4;   // residual stages of the audio encoder, 1…4
  int64_t audio_width = 64;
  int64_t dim = 512;         // D, features of a token and of a slot
  int64_t target_slots = 1;  // slots 0 … target_slots − 1
  int64_t off_target_slots = 1;
  bool shared_slots = true;   // one set of initial slots for both modalities
  int64_t iterations = 5;     // L
  int64_t mlp_hidden = 1024;  // hidden units of the slot MLP (Eq. 6)
  int64_t decoder_hidden = 512;
  int64_t decoder_layers = 3;  // hidden layers of each decoder
  double mask_probability = 0.1;
  bool by_similarity = false;  // localize by the cosine of encoder tokens, without slots
  signal::SpectrogramOptions audio;

  int64_t slots() const { return target_slots + off_target_slots; }
  int64_t image_tokens_per_side() const;
  int64_t frequency_bins() const { return audio.window / 2 + 1; }
  int64_t frames() const;        // spectrogram frames
  int64_t audio_tokens() const;  // frames after the audio encoder's strides
};

}  // namespace soundspot::model
