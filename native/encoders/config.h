// The numbers that shape a model. Defaults are the paper's; src/config/model.ts and src/config/methods.ts validate them
// before they come here.
#pragma once

#include <map>

#include "core/torch.h"
#include "signal/spectrogram.h"

namespace soundspot::encoders {

enum class Modality { kImage, kAudio };

/// Where the audio's features are brought together before they are compared.
enum class AudioPooling {
  kFrequency,  // maximum over frequency, behind the projection: a token for every frame
  kGlobal,     // maximum over frequency and time, before the projection: one token
};

/// From the features of the last stage to tokens.
enum class Projection {
  kPointwise,  // a convolution of one pixel, weight [D, C, 1, 1]
  kLinear,     // the same computation, weight [D, C]
  kNone,       // the features are the tokens: D is C
};

/// Whose names parameters have, in memory and in files.
enum class Names {
  kJointSlotAttention,  // imgnet.conv1, audnet.conv1_1, imgnet.proj, audnet.proj.0
  kEzVsl,               // imgnet.conv1, audnet.conv1, img_proj, aud_proj; with two heads img_proj1, img_proj2, …
  kLvs,                 // imgnet.conv1, audnet.conv1_a; files have stems and classifiers besides that nothing uses
};

/// Which method, and its own numbers by name; flags are 0 or 1. A method reads what it declares in
/// src/config/methods.ts.
struct MethodConfig {
  std::string name;
  std::map<std::string, double> numbers;

  /// @throws Error ERR_INTERNAL when there is no such number.
  double number(const std::string& field) const;
  int64_t integer(const std::string& field) const { return static_cast<int64_t>(number(field)); }
  bool flag(const std::string& field) const { return number(field) != 0; }
};

struct ModelConfig {
  int64_t image_size = 224;   // pixels per side
  int64_t image_stages = 4;   // residual stages of the image encoder, 1…4
  int64_t image_stride = 32;  // pixels per token: 4, 8, 16 or 32, at most 2^(stages + 1)
  int64_t image_width = 64;   // channels of the first stage; each further stage doubles them
  int64_t audio_stages = 4;   // residual stages of the audio encoder, 1…4
  int64_t audio_stride = 32;  // bins and frames per feature: 4, 8, 16 or 32, at most 2^(stages + 1)
  int64_t audio_width = 64;
  int64_t dim = 512;  // D, features of a token
  AudioPooling audio_pooling = AudioPooling::kFrequency;
  Projection image_projection = Projection::kPointwise, audio_projection = Projection::kPointwise;
  double image_dropout = 0, audio_dropout = 0;  // in training, of the features before the projection
  bool normal_scales = false;                   // batch norm's weights begin as N(1, 0.02), not as 1
  Names names = Names::kJointSlotAttention;
  signal::SpectrogramOptions audio;
  MethodConfig method;

  int64_t image_tokens_per_side() const;
  int64_t frequency_bins() const { return signal::row_count(audio); }  // rows of the spectrogram
  int64_t frames() const { return signal::frame_count(audio); }        // and its frames
  int64_t audio_tokens() const;  // frames after the audio encoder's strides; 1 where they are pooled
};

}  // namespace soundspot::encoders
