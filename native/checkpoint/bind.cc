#include "checkpoint/bind.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string_view>

#include "checkpoint/format.h"
#include "core/error.h"

namespace soundspot::checkpoint {
namespace {

constexpr std::string_view kPrefixes[] = {"module.", "_orig_mod.", "model."};
constexpr size_t kListed = 5;  // names in a message

/// "imgnet" of "imgnet.conv1.weight".
std::string_view part_of(std::string_view name) { return name.substr(0, name.find('.')); }

/// Declared names and the parts of the model that they lie in.
class Names {
 public:
  explicit Names(const std::vector<Declared>& declared) {
    for (size_t i = 0; i < declared.size(); ++i) {
      index_.emplace(declared[i].name, i);
      parts_.insert(part_of(declared[i].name));
      longest_ = std::max(longest_, declared[i].name.size());
    }
  }

  /// The declared name that a file's name stands for, as an index; -1 when there is none.
  int64_t find(std::string_view name) const {
    for (bool more = true; more; more = strip(name)) {
      if (name.size() > longest_) continue;
      if (const auto found = index_.find(name); found != index_.end()) return static_cast<int64_t>(found->second);
    }
    return -1;
  }

  /// Whether a file's name lies in a part of the model, with any prefixes.
  bool in_part(std::string_view name) const {
    for (bool more = true; more; more = strip(name)) {
      if (parts_.contains(part_of(name))) return true;
    }
    return false;
  }

 private:
  /// Takes one prefix off. @return false when there is none.
  static bool strip(std::string_view& name) {
    for (const std::string_view prefix : kPrefixes) {
      if (!name.starts_with(prefix)) continue;
      name.remove_prefix(prefix.size());
      return true;
    }
    return false;
  }

  std::map<std::string_view, size_t> index_;
  std::set<std::string_view> parts_;
  size_t longest_ = 0;
};

const Group& choose(const State& state, const Names& names) {
  const auto fits = [&](const Group& group) {
    return std::any_of(group.tensors.begin(), group.tensors.end(),
                       [&](const auto& named) { return names.find(named.first) >= 0; });
  };
  if (fits(state)) return state;
  const auto found = std::find_if(state.others.begin(), state.others.end(), fits);
  return found == state.others.end() ? state : *found;
}

bool is_counter(const std::string& parameter) { return parameter.find("num_batches_tracked") != std::string::npos; }

/// "a, b and 7 more".
std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kListed); ++i) text += (i > 0 ? ", " : "") + printable(names[i]);
  if (names.size() > kListed) text += " and " + std::to_string(names.size() - kListed) + " more";
  return text;
}

[[noreturn]] void mismatch(const std::string& message) { throw Error("ERR_CHECKPOINT_MISMATCH", message); }

}  // namespace

Binding bind(const State& state, const std::vector<Declared>& declared) {
  const Names names(declared);
  const Group& taken = choose(state, names);
  if (!taken.flaw.empty()) throw Error("ERR_CHECKPOINT_CORRUPT", taken.flaw + ". Save the model's state_dict() again.");

  Binding binding;
  binding.key = taken.key;
  std::map<size_t, std::string_view> given;  // by declared name
  for (const auto& [name, tensor] : taken.tensors) {
    const int64_t found = names.find(name);
    if (found < 0) {
      binding.unknown.push_back(name);
      if (names.in_part(name)) binding.foreign.push_back(name);
      continue;
    }
    const Declared& wanted = declared[static_cast<size_t>(found)];
    const auto [before, is_new] = given.emplace(static_cast<size_t>(found), name);
    if (!is_new) {
      mismatch(printable(before->second) + " and " + printable(name) + " are both the tensor " + wanted.name +
               ". Save the model with one of them alone.");
    }
    if (tensor.sizes() == at::IntArrayRef(wanted.sizes)) {
      binding.bound.push_back({wanted.parameter, name, tensor});
    } else {
      binding.mis_shaped.push_back({wanted.parameter, name, tensor.sizes().vec(), wanted.sizes});
    }
  }
  for (size_t i = 0; i < declared.size(); ++i) {
    if (given.contains(i)) continue;
    (declared[i].optional ? binding.absent : binding.missing).push_back(declared[i].parameter);
  }
  const auto skip = [&](const Group& group) {
    if (&group == &taken) return;
    binding.other_keys.push_back(group.key);
    for (const auto& [name, tensor] : group.tensors)
      binding.unknown.push_back(group.key.empty() ? name : group.key + "/" + name);
  };
  skip(state);
  for (const Group& group : state.others) skip(group);
  return binding;
}

void Binding::check_shapes() const {
  if (mis_shaped.empty()) return;
  const MisShaped& first = mis_shaped.front();
  std::ostringstream message;
  message << first.parameter << " has shape " << at::IntArrayRef(first.sizes) << " where this configuration needs "
          << at::IntArrayRef(first.declared);
  if (mis_shaped.size() > 1) message << ", and " << mis_shaped.size() - 1 << " more differ";
  message << ". Use the configuration that the tensors were made with.";
  mismatch(message.str());
}

void Binding::check_complete() const {
  check_shapes();
  if (!foreign.empty()) {
    mismatch(
        "This configuration has no place for " + listed(foreign) +
        ". Use the configuration that the tensors were made with: check its stages, its slots and whether they are "
        "shared, and the layers of its decoders.");
  }
  std::vector<std::string> needed;
  std::copy_if(missing.begin(), missing.end(), std::back_inserter(needed),
               [](const std::string& parameter) { return !is_counter(parameter); });
  if (needed.empty()) return;
  const std::string what = bound.empty() ? "There is none of the model's tensors, such as " : "There is no tensor ";
  mismatch(what + listed(needed) +
           ", which this configuration needs. Load it with the configuration that it was made with.");
}

}  // namespace soundspot::checkpoint
