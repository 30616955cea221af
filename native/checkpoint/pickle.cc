#include "checkpoint/pickle.h"

#include <cstring>
#include <utility>

namespace soundspot::checkpoint {
namespace {

constexpr size_t kMaxValues = 2'000'000;
constexpr size_t kMaxStack = 1'000'000;
constexpr size_t kMaxNames = 10'000;
constexpr size_t kMaxNameBytes = 1'000;

/// "torch.FloatTensor", "torch.cuda.HalfTensor", …: what PyTorch before 0.2 names for a tensor.
bool is_tensor_class(std::string_view name) { return name.starts_with("torch.") && name.ends_with("Tensor"); }

bool is_parameter_class(std::string_view name) {
  return name == "torch.nn.parameter.Parameter" || name == "torch.autograd.variable.Variable";
}

/// Sets the state of an object of PyTorch before 0.2 whose class got no arguments.
void build(PickleValue& target, const PickleValue& state) {
  using Kind = PickleValue::Kind;
  if (target.kind != Kind::kOther || state.kind != Kind::kTuple) return;
  const auto& items = state.items;
  if (is_tensor_class(target.text) && items.size() == 4) {  // (storage, offset, sizes, strides)
    target = {Kind::kTensor, 0, {}, items};
  } else if (is_parameter_class(target.text) && items.size() == 5 && items[0]->kind == Kind::kTensor) {
    const PickleValue data = *items[0];  // (data, gradient, hooks, requires_grad, volatile)
    target = data;
  }
}

}  // namespace

const PickleValue* PickleValue::find(std::string_view key) const {
  for (size_t i = items.size(); i >= 2; i -= 2) {
    if (items[i - 2]->is_string(key)) return items[i - 1];
  }
  return nullptr;
}

Pickle::Pickle(std::string_view bytes, After after) : bytes_(bytes) {
  if (take(1) != "\x80") throw FormatError("its pickle does not begin with a protocol");
  const auto protocol = number<uint8_t>();
  if (protocol < 2 || protocol > 5) throw FormatError("its pickle has an unknown protocol");
  run();
  if (after == After::kNothing && at_ != bytes_.size()) {
    throw FormatError("something follows the object of its pickle");
  }
}

std::string_view Pickle::take(uint64_t bytes) {
  if (bytes > bytes_.size() - at_) throw CutOffError();
  at_ += bytes;
  return bytes_.substr(at_ - bytes, bytes);
}

template <typename T>
T Pickle::number() {
  T value;
  std::memcpy(&value, take(sizeof value).data(), sizeof value);
  return value;
}

std::string_view Pickle::line() {
  const size_t end = bytes_.find('\n', at_);
  if (end == std::string_view::npos) throw CutOffError();
  const std::string_view text = take(end - at_);
  take(1);
  return text;
}

PickleValue* Pickle::push(PickleValue value) {
  if (values_.size() == kMaxValues) throw FormatError("its pickle holds too many objects");
  values_.push_back(std::move(value));
  push_existing(&values_.back());
  return &values_.back();
}

void Pickle::push_existing(PickleValue* value) {
  if (stack_.size() == kMaxStack) throw FormatError("its pickle needs too large a stack");
  stack_.push_back(value);
}

PickleValue* Pickle::pop() {
  PickleValue* value = top();
  stack_.pop_back();
  return value;
}

PickleValue* Pickle::top() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) throw FormatError("its pickle takes from an empty stack");
  return stack_.back();
}

std::vector<PickleValue*> Pickle::pop_items(size_t count) {
  std::vector<PickleValue*> items(count);
  for (size_t i = count; i-- > 0;) items[i] = pop();
  return items;
}

std::vector<PickleValue*> Pickle::pop_to_mark() {
  if (marks_.empty()) throw FormatError("its pickle lacks a mark");
  std::vector<PickleValue*> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()), stack_.end());
  stack_.resize(marks_.back());
  marks_.pop_back();
  return items;
}

void Pickle::run() {
  for (auto operation = number<uint8_t>(); operation != '.'; operation = number<uint8_t>()) step(operation);
  root_ = pop();
  if (!stack_.empty() || !marks_.empty()) throw FormatError("its pickle ends with more than one object");
}

// The opcodes of Python's pickletools, by their names there.
void Pickle::step(unsigned char operation) {
  switch (operation) {
    case 0x95:  // FRAME
      number<uint64_t>();
      return;
    case '(':  // MARK
      if (marks_.size() == kMaxStack) throw FormatError("its pickle needs too large a stack");
      marks_.push_back(stack_.size());
      return;
    case '0':  // POP
      pop();
      return;
    case '1':  // POP_MARK
      pop_to_mark();
      return;
    case '2':  // DUP
      push_existing(top());
      return;

    case 'N':  // NONE
      push({Kind::kNone});
      return;
    case 0x88:  // NEWTRUE
      push({Kind::kBool, 1});
      return;
    case 0x89:  // NEWFALSE
      push({Kind::kBool, 0});
      return;
    case 'J':  // BININT
      push({Kind::kInteger, number<int32_t>()});
      return;
    case 'K':  // BININT1
      push({Kind::kInteger, number<uint8_t>()});
      return;
    case 'M':  // BININT2
      push({Kind::kInteger, number<uint16_t>()});
      return;
    case 0x8a:  // LONG1
      push_long(take(number<uint8_t>()));
      return;
    case 0x8b:  // LONG4
      push_long(take(number<uint32_t>()));
      return;
    case 'G':  // BINFLOAT
      take(8);
      push({Kind::kOther, 0, "float"});
      return;

    case 0x8c:  // SHORT_BINUNICODE
      push({Kind::kString, 0, take(number<uint8_t>())});
      return;
    case 'X':  // BINUNICODE
      push({Kind::kString, 0, take(number<uint32_t>())});
      return;
    case 0x8d:  // BINUNICODE8
      push({Kind::kString, 0, take(number<uint64_t>())});
      return;
    case 'U':  // SHORT_BINSTRING, the str of Python 2
      push({Kind::kString, 0, take(number<uint8_t>())});
      return;
    case 'T':  // BINSTRING
      push({Kind::kString, 0, take(number<uint32_t>())});
      return;
    case 'C':  // SHORT_BINBYTES
      take(number<uint8_t>());
      push({Kind::kOther, 0, "bytes"});
      return;
    case 'B':  // BINBYTES
      take(number<uint32_t>());
      push({Kind::kOther, 0, "bytes"});
      return;
    case 0x8e:  // BINBYTES8
    case 0x96:  // BYTEARRAY8
      take(number<uint64_t>());
      push({Kind::kOther, 0, "bytes"});
      return;

    case ')':  // EMPTY_TUPLE
      push({Kind::kTuple});
      return;
    case 0x85:  // TUPLE1
    case 0x86:  // TUPLE2
    case 0x87:  // TUPLE3
      push({Kind::kTuple, 0, {}, pop_items(operation - 0x84u)});
      return;
    case 't':  // TUPLE
      push({Kind::kTuple, 0, {}, pop_to_mark()});
      return;
    case ']':  // EMPTY_LIST
      push({Kind::kList});
      return;
    case 'l':  // LIST
      push({Kind::kList, 0, {}, pop_to_mark()});
      return;
    case 'a':  // APPEND
      extend(pop_items(1), Kind::kList);
      return;
    case 'e':  // APPENDS
      extend(pop_to_mark(), Kind::kList);
      return;
    case '}':  // EMPTY_DICT
      push({Kind::kDict});
      return;
    case 'd': {  // DICT
      const std::vector<PickleValue*> items = pop_to_mark();
      push({Kind::kDict});
      extend(items, Kind::kDict);
      return;
    }
    case 's':  // SETITEM
      extend(pop_items(2), Kind::kDict);
      return;
    case 'u':  // SETITEMS
      extend(pop_to_mark(), Kind::kDict);
      return;
    case 0x8f:  // EMPTY_SET
      push({Kind::kOther, 0, "set"});
      return;
    case 0x90:  // ADDITEMS
      extend(pop_to_mark(), Kind::kOther);
      return;
    case 0x91:  // FROZENSET
      pop_to_mark();
      push({Kind::kOther, 0, "frozenset"});
      return;

    case 'q':  // BINPUT
      remember(number<uint8_t>());
      return;
    case 'r':  // LONG_BINPUT
      remember(number<uint32_t>());
      return;
    case 0x94:  // MEMOIZE
      remember(static_cast<uint32_t>(memo_.size()));
      return;
    case 'h':  // BINGET
      recall(number<uint8_t>());
      return;
    case 'j':  // LONG_BINGET
      recall(number<uint32_t>());
      return;

    case 'c': {  // GLOBAL
      const std::string_view module = line();
      push_global(module, line());
      return;
    }
    case 0x93: {  // STACK_GLOBAL
      const PickleValue* name = pop();
      const PickleValue* module = pop();
      if (name->kind != Kind::kString || module->kind != Kind::kString) throw FormatError("its pickle is damaged");
      push_global(module->text, name->text);
      return;
    }
    case 'R':     // REDUCE
    case 0x81: {  // NEWOBJ
      PickleValue* arguments = pop();
      call(*pop(), arguments);
      return;
    }
    case 0x92: {  // NEWOBJ_EX
      pop();
      PickleValue* arguments = pop();
      call(*pop(), arguments);
      return;
    }
    case 'b': {  // BUILD: sets attributes, which say nothing about a tensor but in the oldest files
      const PickleValue* state = pop();
      build(*top(), *state);
      return;
    }
    case 'Q':  // BINPERSID
      push_persistent();
      return;
    default:
      throw FormatError("its pickle has an operation that torch.save does not write");
  }
}

void Pickle::remember(uint32_t index) {
  PickleValue* value = top();
  memo_[index] = value;
  if (memo_.size() > kMaxValues) throw FormatError("its pickle remembers too many objects");
}

void Pickle::recall(uint32_t index) {
  const auto found = memo_.find(index);
  if (found == memo_.end()) throw FormatError("its pickle recalls an object that it did not make");
  push_existing(found->second);
}

void Pickle::push_long(std::string_view bytes) {
  if (bytes.size() > sizeof(int64_t)) {
    push({Kind::kOther, 0, "a large int"});
    return;
  }
  const bool negative = !bytes.empty() && (bytes.back() & 0x80) != 0;
  int64_t value = negative ? -1 : 0;
  std::memcpy(&value, bytes.data(), bytes.size());
  push({Kind::kInteger, value});
}

void Pickle::push_global(std::string_view module, std::string_view name) {
  if (module.size() + name.size() > kMaxNameBytes || names_.size() == kMaxNames) {
    throw FormatError("its pickle names too many classes, or one with too long a name");
  }
  const std::string& text = *names_.insert(std::string(module) + "." + std::string(name)).first;
  push({Kind::kGlobal, 0, text});
}

/// The storage that a tuple names, or before PyTorch 1.6 the class of a module with its source.
void Pickle::push_persistent() {
  const PickleValue* id = pop();
  const auto& items = id->items;
  const bool is_tuple = id->kind == Kind::kTuple;
  if (is_tuple && items.size() == 4 && items[0]->is_string("module") && items[1]->kind == Kind::kGlobal) {
    push_existing(items[1]);
    return;
  }
  if (!is_tuple || (items.size() != 5 && items.size() != 6) || !items[0]->is_string("storage") ||
      items[1]->kind != Kind::kGlobal || items[2]->kind != Kind::kString || items[4]->kind != Kind::kInteger) {
    throw FormatError("its pickle refers to something other than the data of a tensor");
  }
  storages_.push_back(push({Kind::kStorage, 0, {}, items}));
}

/// Adds `items` to the collection on top, of `kind`. Other objects may have such methods too; theirs is lost.
void Pickle::extend(const std::vector<PickleValue*>& items, Kind kind) {
  PickleValue* target = top();
  if (target->kind == Kind::kOther) return;
  if (target->kind != kind || (kind == Kind::kDict && items.size() % 2 != 0)) {
    throw FormatError("its pickle adds items to something that takes none");
  }
  target->items.insert(target->items.end(), items.begin(), items.end());
}

/// Pushes the value that `function(*arguments)` stands for. Nothing runs.
void Pickle::call(const PickleValue& function, PickleValue* arguments) {
  const bool callable = function.kind == Kind::kGlobal || function.kind == Kind::kOther;
  if (!callable || arguments->kind != Kind::kTuple) throw FormatError("its pickle calls something that is no function");
  const std::string_view name = function.text;
  const auto& items = arguments->items;
  if (function.kind == Kind::kOther) {
    push({Kind::kOther, 0, name});
  } else if (name == "collections.OrderedDict" && items.empty()) {
    push({Kind::kDict});
  } else if (name == "collections.OrderedDict" && items.size() == 1 && items[0]->kind == Kind::kList) {
    push_pairs(*items[0]);
  } else if (name == "torch.Size" && items.size() == 1 && items[0]->kind == Kind::kTuple) {
    push_existing(items[0]);
  } else if ((name == "torch._utils._rebuild_tensor_v2" && items.size() >= 4) ||
             ((name == "torch._utils._rebuild_tensor" || is_tensor_class(name)) && items.size() == 4)) {
    push({Kind::kTensor, 0, {}, {items.begin(), items.begin() + 4}});
  } else if ((name == "torch._utils._rebuild_parameter" || name == "torch._utils._rebuild_parameter_with_state") &&
             !items.empty()) {
    push_existing(items[0]);  // (data, requires_grad, …)
  } else if (is_parameter_class(name) && !items.empty() && items[0]->kind == Kind::kTensor) {
    push_existing(items[0]);  // (data, requires_grad)
  } else {
    push({Kind::kOther, 0, name});
  }
}

/// A dictionary of [key, value], …: an OrderedDict as Python 2 pickles it.
void Pickle::push_pairs(const PickleValue& pairs) {
  copied_ += pairs.items.size();  // one list may be used any number of times
  if (copied_ > kMaxValues) throw FormatError("its pickle holds too many objects");
  PickleValue dict{Kind::kDict};
  for (const PickleValue* pair : pairs.items) {
    if ((pair->kind != Kind::kList && pair->kind != Kind::kTuple) || pair->items.size() != 2) {
      throw FormatError("its pickle makes a dictionary of something other than pairs");
    }
    dict.items.insert(dict.items.end(), pair->items.begin(), pair->items.end());
  }
  push(std::move(dict));
}

}  // namespace soundspot::checkpoint
