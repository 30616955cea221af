// JSON as safetensors headers use it: objects, arrays, strings, and integers from 0. Everything else is rejected.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace soundspot::checkpoint {

/// Reads the values that the caller expects, in order, straight from the text. The caller's own nesting bounds the
/// depth, and nothing is kept of what it does not ask for. Every method throws FormatError with the place in bytes.
class JsonReader {
 public:
  /// `text` must outlive the reader.
  explicit JsonReader(std::string_view text) : text_(text) {}

  /// Calls `member(key)` before each value, which it must read. A key that comes twice is an error.
  void object(const std::function<void(const std::string&)>& member);
  /// Calls `element` before each value, which it must read.
  void array(const std::function<void()>& element);
  /// UTF-8, its escapes resolved.
  std::string string();
  /// 0 … 2^63 − 1, without sign, fraction and exponent.
  int64_t integer();
  /// Only white space may be left.
  void finish();

 private:
  [[noreturn]] void fail(const std::string& what) const;
  void skip_space();
  bool take(char c);
  void expect(char c);
  void append_escape(std::string& out);
  uint32_t hex4();

  std::string_view text_;
  size_t at_ = 0;
};

/// Appends `text`, which must be UTF-8, as a quoted JSON string.
void append_json_string(std::string& out, std::string_view text);

/// Whether `text` is UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view text);

}  // namespace soundspot::checkpoint
