// Nested objects, arrays, strings and integers, as a safetensors header has them.
#include "checkpoint/json.h"

#include "checkpoint/format.h"
#include "target.h"

using soundspot::checkpoint::append_json_string;
using soundspot::checkpoint::FormatError;
using soundspot::checkpoint::is_utf8;
using soundspot::checkpoint::JsonReader;
using soundspot::fuzz::require;

namespace {

/// What is written must be read as the same.
void check_string(const std::string& value) {
  require(is_utf8(value));
  std::string quoted;
  append_json_string(quoted, value);
  JsonReader again(quoted);
  require(again.string() == value);
  again.finish();
}

void read_entry(JsonReader& json, const std::string& key) {
  check_string(key);
  json.object([&](const std::string& field) {
    if (field == "shape") {
      json.array([&] { require(json.integer() >= 0); });
    } else {
      check_string(json.string());
    }
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  JsonReader json(soundspot::fuzz::text(data, bytes));
  try {
    json.object([&](const std::string& key) { read_entry(json, key); });
    json.finish();
  } catch (const FormatError&) {
  }
  return 0;
}
