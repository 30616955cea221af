#include "encoders/config.h"

#include "core/error.h"

namespace soundspot::encoders {

namespace {

int64_t halve(int64_t length, int64_t times) {
  for (int64_t i = 0; i < times; ++i) length = (length + 1) / 2;
  return length;
}

int64_t log2_of(int64_t value) {
  int64_t result = 0;
  while ((int64_t{1} << result) < value) ++result;
  return result;
}

}  // namespace

double MethodConfig::number(const std::string& field) const {
  const auto found = numbers.find(field);
  if (found != numbers.end()) return found->second;
  throw Error("ERR_INTERNAL", "The configuration of the method " + name + " has no " + field + ".");
}

int64_t ModelConfig::image_tokens_per_side() const { return halve(image_size, log2_of(image_stride)); }

int64_t ModelConfig::audio_tokens() const {
  return audio_pooling == AudioPooling::kGlobal ? 1 : halve(frames(), log2_of(audio_stride));
}

}  // namespace soundspot::encoders
