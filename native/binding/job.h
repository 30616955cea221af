// Work off the event loop: a promise for the result of a function on a thread of Node's pool.
#pragma once

#include <napi.h>

#include <exception>
#include <functional>
#include <new>

#include "binding/compute_thread.h"
#include "core/error.h"
#include "core/torch.h"
#include "memory/caching_allocator.h"

namespace soundspot::binding {

/// A JavaScript Error with the stable `code` of the failure.
inline Napi::Error to_javascript(Napi::Env env, const std::string& code, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  return error;
}

/// Whether LibTorch, oneDNN, cuBLAS or cuDNN say that memory ran out. Only LibTorch's allocator of a GPU has an
/// exception of its own for it.
inline bool is_out_of_memory(const std::string& message) {
  const auto says = [&](const char* words) { return message.find(words) != std::string::npos; };
  return says("can't allocate memory") || says("not enough memory") || says("out of memory") ||
         says("Storage size calculation overflowed") || says("_ALLOC_FAILED");
}

/// Runs `work`, and fills code and message, which is not empty then, with what it throws.
template <class Work>
bool guarded(const Work& work, std::string& code, std::string& message) {
  const char* whose = "The memory";
  try {
    work();
    return true;
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
  return false;
}

/// One asynchronous call: input by capture, its result, its error.
template <class Result>
class Job final : public Napi::AsyncWorker {
 public:
  using Work = std::function<Result()>;
  using Convert = std::function<Napi::Value(Napi::Env, Result&)>;

  /// `inputs` stay alive until the job is done, so that `work` may read their memory.
  static Napi::Value run(Napi::Env env, const std::vector<Napi::Value>& inputs, Work work, Convert convert) {
    return start(new Job(env, std::move(work), std::move(convert), false), env, inputs);
  }

  /// The same for what keeps all cores busy: one such job at a time, on the compute thread.
  static Napi::Value compute(Napi::Env env, const std::vector<Napi::Value>& inputs, Work work, Convert convert) {
    return start(new Job(env, std::move(work), std::move(convert), true), env, inputs);
  }

 protected:
  void Execute() override {
    std::string message;
    const auto work = [&] { guarded([&] { result_ = work_(); }, code_, message); };
    stay_on_this_thread();
    // The compute thread may fail to take the work, or to start.
    guarded([&] { compute_ ? on_compute_thread(work) : work(); }, code_, message);
    if (!message.empty()) SetError(message);
  }

  void OnOK() override {
    settle([this] { deferred_.Resolve(convert_(Env(), result_)); });
  }

  void OnError(const Napi::Error& error) override {
    settle([&] { deferred_.Reject(to_javascript(Env(), code_, error.Message()).Value()); });
  }

 private:
  Job(Napi::Env env, Work work, Convert convert, bool compute)
      : Napi::AsyncWorker(env),
        deferred_(env),
        work_(std::move(work)),
        convert_(std::move(convert)),
        compute_(compute) {}

  static Napi::Value start(Job* job, Napi::Env env, const std::vector<Napi::Value>& inputs) {
    Napi::Array kept = Napi::Array::New(env, inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) kept.Set(static_cast<uint32_t>(i), inputs[i]);
    job->inputs_ = Napi::Persistent(kept.As<Napi::Object>());
    const Napi::Promise promise = job->deferred_.Promise();
    job->Queue();
    return promise;
  }

  /// Nothing may leave these callbacks: a worker thread that is being terminated rejects every call into JavaScript,
  /// and no code is left to handle an error.
  template <class Settle>
  void settle(const Settle& action) {
    try {
      const Napi::HandleScope scope(Env());
      std::string message;
      if (!guarded(action, code_, message)) deferred_.Reject(to_javascript(Env(), code_, message).Value());
    } catch (const std::exception&) {
    }
  }

  Napi::Promise::Deferred deferred_;
  Work work_;
  Convert convert_;
  Result result_{};
  const bool compute_;
  std::string code_ = "ERR_INTERNAL";
  Napi::ObjectReference inputs_;
};

}  // namespace soundspot::binding
