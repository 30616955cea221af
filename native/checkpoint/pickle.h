// Reading a pickle as data. Nothing that it names is looked up or called; a handful of names of PyTorch that only
// describe tensors and dictionaries have a meaning here, and every other call gives a value of kind kOther.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/format.h"

namespace soundspot::checkpoint {

/// The bytes of a pickle end before the pickle does.
class CutOffError : public FormatError {
 public:
  CutOffError() : FormatError("its pickle is cut off") {}
};

/// One object of the pickle. `items` may form cycles.
struct PickleValue {
  enum class Kind {
    kNone,
    kBool,     // `integer`
    kInteger,  // `integer`
    kString,   // `text`
    kTuple,    // `items`; also torch.Size
    kList,     // `items`
    kDict,     // `items`: key, value, key, value, …; also collections.OrderedDict
    kGlobal,   // `text`: "torch.FloatStorage"
    kStorage,  // `items`: "storage", the kGlobal of its type, key, location, number of elements; before PyTorch 1.6
               // also a part of it, or kNone: (key, offset, number of elements)
    kTensor,   // `items`: kStorage, offset, sizes, strides: the first arguments of torch._utils._rebuild_tensor_v2
    kOther,    // `text`: its constructor, such as "argparse.Namespace" or "float"
  };

  Kind kind = Kind::kOther;
  int64_t integer = 0;
  std::string_view text = {};
  std::vector<PickleValue*> items = {};

  bool is_string(std::string_view value) const { return kind == Kind::kString && text == value; }

  /// Of a kDict the last value under `key`, as Python keeps it; null without one.
  const PickleValue* find(std::string_view key) const;
};

/// The object that a pickle of protocol 2 … 5 describes. Depth needs no stack, and the numbers of objects, stack
/// entries and memo entries are limited.
class Pickle {
 public:
  /// What may stand behind it in the same bytes.
  enum class After { kNothing, kAnything };

  /// `bytes` must outlive the pickle.
  /// @throws FormatError, CutOffError where more bytes could make it whole.
  explicit Pickle(std::string_view bytes, After after = After::kNothing);
  Pickle(const Pickle&) = delete;
  Pickle& operator=(const Pickle&) = delete;

  const PickleValue& root() const { return *root_; }
  /// Every kStorage that the pickle makes, also where nothing refers to it.
  const std::vector<const PickleValue*>& storages() const { return storages_; }
  /// In bytes.
  size_t size() const { return at_; }

 private:
  using Kind = PickleValue::Kind;

  // The input.
  std::string_view take(uint64_t bytes);
  template <typename T>
  T number();
  std::string_view line();

  // The stack.
  PickleValue* push(PickleValue value);
  void push_existing(PickleValue* value);
  PickleValue* pop();
  PickleValue* top();
  std::vector<PickleValue*> pop_items(size_t count);
  std::vector<PickleValue*> pop_to_mark();

  // The operations.
  void run();
  void step(unsigned char operation);
  void remember(uint32_t index);
  void recall(uint32_t index);
  void push_long(std::string_view bytes);
  void push_global(std::string_view module, std::string_view name);
  void push_persistent();
  void extend(const std::vector<PickleValue*>& items, Kind kind);
  void call(const PickleValue& function, PickleValue* arguments);
  void push_pairs(const PickleValue& pairs);

  std::string_view bytes_;
  size_t at_ = 0;
  std::deque<PickleValue> values_;  // owns all; a flat list: deep nesting is freed without recursion
  size_t copied_ = 0;               // items that were put into a second collection
  std::vector<const PickleValue*> storages_;
  std::set<std::string> names_;  // of globals
  std::vector<PickleValue*> stack_;
  std::vector<size_t> marks_;              // sizes of the stack
  std::map<uint32_t, PickleValue*> memo_;  // no hash table: a file could make all its keys collide
  const PickleValue* root_ = nullptr;
};

}  // namespace soundspot::checkpoint
