// Failures inside the addon: a stable code for JavaScript and a message that says how to fix it.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace soundspot {

/// Thrown anywhere below native/. `guarded` and `to_javascript` (binding/job.h) make it a JavaScript error with the
/// same code, and `translate` (src/native.ts) a SoundspotError.
class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message) : std::runtime_error(message), code_(std::move(code)) {}

  /// One of the codes of src/core/errors.ts, such as "ERR_SHAPE".
  const std::string& code() const { return code_; }

 private:
  std::string code_;
};

}  // namespace soundspot
