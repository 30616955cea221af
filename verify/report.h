// What was verified: one line of output for each check, a summary, and all of it as JSON.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace soundspot::verify {

/// The greatest error that is still right, and why that one.
struct Tolerance {
  double most = 0;
  std::string reason;
};

/// One comparison.
struct Figure {
  std::string name;
  double error = 0;
  Tolerance tolerance;

  /// An error that is not a number passes nothing.
  bool passed() const { return error <= tolerance.most; }
};

/// The comparisons of one case.
struct Check {
  std::string name;
  std::vector<Figure> figures;
  std::string message;  // why there are no figures

  bool passed() const;
  /// The one that is nearest to its tolerance, or furthest beyond. @pre there are figures.
  const Figure& worst() const;
};

/// Milliseconds, medians of `runs` each.
struct Timing {
  std::string name;
  double own = 0, other = 0;
  std::string against;  // what the other is
  int runs = 0;
};

struct Stage {
  std::string name;
  double seconds = 0;
  std::vector<Check> checks;
  std::vector<Timing> timings;
  std::vector<std::string> notes;

  bool passed() const;
};

/// Names and values that describe the machine, in their order.
using Description = std::vector<std::pair<std::string, std::string>>;

class Report {
 public:
  explicit Report(Description machine) : machine_(std::move(machine)) {}

  /// Begins a stage, which takes what is added from now on.
  void begin(const std::string& stage);
  void add(Check check);
  void add(Timing timing);
  void note(const std::string& text);
  void end();

  bool passed() const;
  /// Prints how many checks there were, and those that failed.
  void summarize() const;
  std::string json() const;

 private:
  Description machine_;
  std::vector<Stage> stages_;
  std::chrono::steady_clock::time_point started_;
};

/// Writes a file under a temporary name, and renames it.
/// @throws std::runtime_error that names it.
void write_file(const std::string& path, const std::string& content);

}  // namespace soundspot::verify
