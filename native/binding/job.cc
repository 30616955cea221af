#include "binding/job.h"

#include <new>

#include "memory/caching_allocator.h"

namespace soundspot::binding {

namespace {

/// Whether LibTorch, oneDNN, cuBLAS or cuDNN say that memory ran out. Only LibTorch's allocator of a GPU has an
/// exception of its own for it.
bool is_out_of_memory(const std::string& message) {
  const auto says = [&](const char* words) { return message.find(words) != std::string::npos; };
  return says("can't allocate memory") || says("not enough memory") || says("out of memory") ||
         says("Storage size calculation overflowed") || says("_ALLOC_FAILED");
}

}  // namespace

void describe_failure(std::string& code, std::string& message) {
  const char* whose = "The memory";
  try {
    throw;
  } catch (const Error& error) {
    code = error.code();
    message = error.what();
  } catch (const c10::OutOfMemoryError&) {
    code = "ERR_OUT_OF_MEMORY";
    whose = "The GPU's memory";
  } catch (const c10::Error& error) {
    code = "ERR_INTERNAL";
    message = std::string("LibTorch: ") + error.what_without_backtrace();
  } catch (const std::bad_alloc&) {
    code = "ERR_OUT_OF_MEMORY";
  } catch (const std::exception& error) {
    code = "ERR_INTERNAL";
    message = std::string("The addon failed: ") + error.what();
  }
  if (code == "ERR_INTERNAL" && is_out_of_memory(message)) code = "ERR_OUT_OF_MEMORY";
  if (code == "ERR_OUT_OF_MEMORY") {
    memory::give_back_free_blocks();
    message = std::string(whose) +
              " does not suffice. Use a smaller batch, in training microBatchSize, a smaller image or a smaller model.";
  }
}

}  // namespace soundspot::binding
