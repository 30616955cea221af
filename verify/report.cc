#include "verify/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace soundspot::verify {

namespace {

/// How near to its tolerance: above 1 is beyond. Of a tolerance of 0 any error is.
double used(const Figure& figure) {
  if (figure.passed()) return figure.tolerance.most > 0 ? figure.error / figure.tolerance.most : 0;
  if (!std::isfinite(figure.error) || figure.tolerance.most <= 0) return INFINITY;
  return figure.error / figure.tolerance.most;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char each : text) {
    if (each == '"' || each == '\\') {
      result += '\\';
      result += each;
    } else if (static_cast<unsigned char>(each) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof(code), "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(each)));
      result += code;
    } else {
      result += each;
    }
  }
  return result + '"';
}

/// JSON has no infinity.
std::string number(double value) {
  if (!std::isfinite(value)) return "null";
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

const char* boolean(bool value) { return value ? "true" : "false"; }

template <class Item, class Text>
std::string list(const std::vector<Item>& items, const Text& text) {
  std::string result = "[";
  for (const Item& item : items) {
    if (result.size() > 1) result += ',';
    result += text(item);
  }
  return result + ']';
}

std::string json_of(const Figure& figure) {
  return "{\"name\":" + quoted(figure.name) + ",\"error\":" + number(figure.error) +
         ",\"tolerance\":" + number(figure.tolerance.most) + ",\"reason\":" + quoted(figure.tolerance.reason) +
         ",\"passed\":" + boolean(figure.passed()) + "}";
}

std::string json_of(const Check& check) {
  return "{\"name\":" + quoted(check.name) + ",\"passed\":" + boolean(check.passed()) +
         (check.message.empty() ? "" : ",\"message\":" + quoted(check.message)) +
         ",\"figures\":" + list(check.figures, [](const Figure& each) { return json_of(each); }) + "}";
}

std::string json_of(const Timing& timing) {
  return "{\"name\":" + quoted(timing.name) + ",\"ms\":" + number(timing.own) +
         ",\"against\":" + quoted(timing.against) + ",\"againstMs\":" + number(timing.other) +
         ",\"ratio\":" + number(timing.other / timing.own) + ",\"runs\":" + std::to_string(timing.runs) + "}";
}

std::string json_of(const Stage& stage) {
  return "{\"name\":" + quoted(stage.name) + ",\"passed\":" + boolean(stage.passed()) +
         ",\"seconds\":" + number(stage.seconds) +
         ",\"checks\":" + list(stage.checks, [](const Check& each) { return json_of(each); }) +
         ",\"timings\":" + list(stage.timings, [](const Timing& each) { return json_of(each); }) +
         ",\"notes\":" + list(stage.notes, quoted) + "}";
}

}  // namespace

bool Check::passed() const {
  return message.empty() && !figures.empty() &&
         std::all_of(figures.begin(), figures.end(), [](const Figure& each) { return each.passed(); });
}

const Figure& Check::worst() const {
  return *std::max_element(figures.begin(), figures.end(),
                           [](const Figure& a, const Figure& b) { return used(a) < used(b); });
}

bool Stage::passed() const {
  return std::all_of(checks.begin(), checks.end(), [](const Check& each) { return each.passed(); });
}

void Report::begin(const std::string& stage) {
  std::printf("\n%s\n", stage.c_str());
  stages_.push_back({.name = stage, .seconds = 0, .checks = {}, .timings = {}, .notes = {}});
  started_ = std::chrono::steady_clock::now();
}

void Report::add(Check check) {
  if (check.figures.empty()) {
    if (check.message.empty()) check.message = "nothing was compared";
    std::printf("  FAILED  %s: %s\n", check.name.c_str(), check.message.c_str());
  } else {
    const Figure& worst = check.worst();
    std::printf("  %-6s  %s: %s %.2g of %.2g\n", check.passed() ? "ok" : "FAILED", check.name.c_str(),
                worst.name.c_str(), worst.error, worst.tolerance.most);
  }
  std::fflush(stdout);
  stages_.back().checks.push_back(std::move(check));
}

void Report::add(Timing timing) {
  std::printf("  %9.3f ms  %s; %s %.3f ms, %.2f times as long\n", timing.own, timing.name.c_str(),
              timing.against.c_str(), timing.other, timing.other / timing.own);
  std::fflush(stdout);
  stages_.back().timings.push_back(std::move(timing));
}

void Report::note(const std::string& text) {
  std::printf("  %s\n", text.c_str());
  stages_.back().notes.push_back(text);
}

void Report::end() {
  stages_.back().seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
}

bool Report::passed() const {
  return std::all_of(stages_.begin(), stages_.end(), [](const Stage& each) { return each.passed(); });
}

void Report::summarize() const {
  std::printf("\n");
  for (const Stage& stage : stages_) {
    size_t failed = 0;
    for (const Check& check : stage.checks) failed += check.passed() ? 0 : 1;
    std::printf("%s: %zu checks, %zu failed, %zu timings, %.0f s\n", stage.name.c_str(), stage.checks.size(), failed,
                stage.timings.size(), stage.seconds);
  }
  std::printf("%s\n", passed() ? "All checks passed." : "Checks FAILED.");
}

std::string Report::json() const {
  std::string machine = "{";
  for (const auto& [name, value] : machine_) {
    if (machine.size() > 1) machine += ',';
    machine += quoted(name) + ":" + quoted(value);
  }
  return "{\"machine\":" + machine + "},\"passed\":" + boolean(passed()) +
         ",\"stages\":" + list(stages_, [](const Stage& each) { return json_of(each); }) + "}\n";
}

void write_file(const std::string& path, const std::string& content) {
  const std::string temporary = path + ".part";
  std::ofstream file(temporary, std::ios::binary);
  file << content;
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(temporary, path, error);
  if (!file || error) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw std::runtime_error("Could not write " + path + (error ? ": " + error.message() : "") + ".");
  }
}

}  // namespace soundspot::verify
