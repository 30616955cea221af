// Process groups: to join one, to exchange bytes, and to leave.
#include "binding/convert.h"
#include "binding/functions.h"
#include "binding/group_handle.h"

namespace soundspot::binding {

namespace {

// joinGroup({ rank, size, address, port, storeIsThere, prefix, interface, timeout }) → Promise<handle>
Napi::Value join_group(const Napi::CallbackInfo& call) {
  const auto object = call[0].As<Napi::Object>();
  const distributed::GroupOptions options{.rank = integer(object, "rank"),
                                          .size = integer(object, "size"),
                                          .address = text(object, "address"),
                                          .port = integer(object, "port"),
                                          .store_is_there = boolean(object, "storeIsThere"),
                                          .prefix = text(object, "prefix"),
                                          .interface = text(object, "interface"),
                                          .timeout = number(object, "timeout")};
  return Job<std::shared_ptr<GroupHandle>>::run(
      call.Env(), {},
      [=] { return std::make_shared<GroupHandle>(GroupHandle{distributed::ProcessGroup::join(options)}); },
      [](Napi::Env env, std::shared_ptr<GroupHandle>& handle) { return wrap(env, handle); });
}

// gatherBytes(group, Uint8Array) → Promise<Uint8Array[]>, in the order of ranks
Napi::Value gather_bytes(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<GroupHandle>(call[0]);
  const auto array = call[1].As<Napi::Uint8Array>();
  const std::string own(reinterpret_cast<const char*>(array.Data()), array.ByteLength());
  return Job<std::vector<std::string>>::run(
      call.Env(), {}, [=] { return handle->group->gather_bytes(own); },
      [](Napi::Env env, std::vector<std::string>& all) {
        Napi::Array list = Napi::Array::New(env, all.size());
        for (size_t i = 0; i < all.size(); ++i) {
          auto bytes = Napi::Uint8Array::New(env, all[i].size());
          std::copy(all[i].begin(), all[i].end(), bytes.Data());
          list.Set(static_cast<uint32_t>(i), bytes);
        }
        return list;
      });
}

// groupTraffic(group) → { calls, bytes, seconds } since it was joined
Napi::Value group_traffic(const Napi::CallbackInfo& call) {
  const distributed::Traffic traffic = unwrap<GroupHandle>(call[0])->group->traffic()->read();
  Napi::Object result = Napi::Object::New(call.Env());
  result.Set("calls", static_cast<double>(traffic.calls));
  result.Set("bytes", static_cast<double>(traffic.bytes));
  result.Set("seconds", traffic.seconds);
  return result;
}

// leaveGroup(group) → Promise<void>
Napi::Value leave_group(const Napi::CallbackInfo& call) {
  const auto handle = unwrap<GroupHandle>(call[0]);
  return Job<bool>::run(
      call.Env(), {},
      [=] {
        handle->group->leave();
        return true;
      },
      [](Napi::Env env, bool&) { return env.Undefined(); });
}

}  // namespace

void register_distributed(Napi::Env env, Napi::Object exports) {
  exports.Set("joinGroup", Napi::Function::New(env, join_group, "joinGroup"));
  exports.Set("gatherBytes", Napi::Function::New(env, gather_bytes, "gatherBytes"));
  exports.Set("groupTraffic", Napi::Function::New(env, group_traffic, "groupTraffic"));
  exports.Set("leaveGroup", Napi::Function::New(env, leave_group, "leaveGroup"));
}

}  // namespace soundspot::binding
