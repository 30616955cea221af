#include "checkpoint/json.h"

#include <limits>
#include <set>

#include "checkpoint/format.h"

namespace soundspot::checkpoint {
namespace {

void append_utf8(std::string& out, uint32_t point) {
  if (point < 0x80) {
    out += static_cast<char>(point);
    return;
  }
  const int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;  // bytes after the first
  constexpr uint32_t kLead[] = {0, 0xc0, 0xe0, 0xf0};
  out += static_cast<char>(kLead[more] | point >> (6 * more));
  for (int i = more - 1; i >= 0; --i) out += static_cast<char>(0x80 | ((point >> (6 * i)) & 0x3f));
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i++]);
    if (lead < 0x80) continue;
    const int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || text.size() - i < static_cast<size_t>(more)) return false;
    uint32_t point = lead & (0x3fu >> more);
    for (int k = 0; k < more; ++k) {
      const auto byte = static_cast<unsigned char>(text[i++]);
      if ((byte & 0xc0) != 0x80) return false;
      point = point << 6 | (byte & 0x3f);
    }
    constexpr uint32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
    if (point < kSmallest[more] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return false;
  }
  return true;
}

void JsonReader::object(const std::function<void(const std::string&)>& member) {
  std::set<std::string> keys;  // no hash table: a file could make all its keys collide
  expect('{');
  if (take('}')) return;
  do {
    const std::string key = string();
    if (!keys.insert(key).second) fail("the key " + printable(key) + " comes twice");
    expect(':');
    member(key);
  } while (take(','));
  expect('}');
}

void JsonReader::array(const std::function<void()>& element) {
  expect('[');
  if (take(']')) return;
  do {
    element();
  } while (take(','));
  expect(']');
}

std::string JsonReader::string() {
  expect('"');
  std::string out;
  while (true) {
    const size_t start = at_;
    while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\') {
      if (static_cast<unsigned char>(text_[at_]) < 0x20) fail("a string holds a control character");
      ++at_;
    }
    const std::string_view plain = text_.substr(start, at_ - start);
    if (!is_utf8(plain)) fail("a string is not UTF-8");
    out += plain;
    if (at_ == text_.size()) fail("a string does not end");
    if (text_[at_++] == '"') return out;
    append_escape(out);
  }
}

void JsonReader::append_escape(std::string& out) {
  constexpr std::string_view kEscapes = "\"\\/bfnrt";
  constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
  if (at_ == text_.size()) fail("a string does not end");
  const char escape = text_[at_++];
  if (const size_t found = kEscapes.find(escape); found != std::string_view::npos) {
    out += kMeanings[found];
    return;
  }
  if (escape != 'u') fail("a string holds an unknown escape");
  uint32_t point = hex4();
  if (point >= 0xd800 && point <= 0xdbff && text_.substr(at_, 2) == "\\u") {
    at_ += 2;
    const uint32_t low = hex4();
    if (low < 0xdc00 || low > 0xdfff) fail("a string holds half a surrogate pair");
    point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
  }
  if (point >= 0xd800 && point <= 0xdfff) fail("a string holds half a surrogate pair");
  append_utf8(out, point);
}

uint32_t JsonReader::hex4() {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = at_ < text_.size() ? text_[at_++] : '\0';
    value <<= 4;
    if (c >= '0' && c <= '9') {
      value |= static_cast<uint32_t>(c - '0');
    } else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) {
      value |= static_cast<uint32_t>((c | 0x20) - 'a' + 10);
    } else {
      fail("a \\u escape needs four hexadecimal digits");
    }
  }
  return value;
}

int64_t JsonReader::integer() {
  skip_space();
  const size_t start = at_;
  int64_t value = 0;
  for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
    const int digit = text_[at_] - '0';
    if (value > (std::numeric_limits<int64_t>::max() - digit) / 10) fail("a number is too large");
    value = value * 10 + digit;
  }
  if (at_ == start) fail("a whole number from 0 should be here");
  if (text_[start] == '0' && at_ - start > 1) fail("a number begins with 0");
  return value;
}

void JsonReader::finish() {
  skip_space();
  if (at_ < text_.size()) fail("something follows the last value");
}

void JsonReader::skip_space() {
  while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos) ++at_;
}

bool JsonReader::take(char c) {
  skip_space();
  if (at_ == text_.size() || text_[at_] != c) return false;
  ++at_;
  return true;
}

void JsonReader::expect(char c) {
  if (!take(c)) fail(std::string("'") + c + "' should be here");
}

void JsonReader::fail(const std::string& what) const {
  throw FormatError("its header is not valid JSON: " + what + " (byte " + std::to_string(at_) + ")");
}

void append_json_string(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace soundspot::checkpoint
