// Work off the event loop: a promise for the result of a function on a thread of Node's pool.
#pragma once

#include <napi.h>

#include <exception>
#include <functional>

#include "binding/compute_thread.h"
#include "core/error.h"
#include "core/torch.h"

namespace soundspot::binding {

/// A JavaScript Error with the stable `code` of the failure.
inline Napi::Error to_javascript(Napi::Env env, const std::string& code, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  return error;
}

/// The code and the message, which is not empty, of the exception that is handled. After memory ran out, blocks that
/// are free go back to the system.
void describe_failure(std::string& code, std::string& message);

/// Runs `work`, and fills code and message, which is not empty then, with what it throws.
template <class Work>
bool guarded(const Work& work, std::string& code, std::string& message) {
  try {
    work();
    return true;
  } catch (const std::exception&) {
    describe_failure(code, message);
    return false;
  }
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
