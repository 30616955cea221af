// A pickle, and every object that its root reaches.
#include "checkpoint/pickle.h"

#include <set>

#include "checkpoint/format.h"
#include "target.h"

using soundspot::checkpoint::Pickle;
using soundspot::checkpoint::PickleValue;
using soundspot::fuzz::require;

namespace {

void visit(const PickleValue& root) {
  std::set<const PickleValue*> seen{&root};
  std::vector<const PickleValue*> open{&root};
  static volatile char sink;
  while (!open.empty()) {
    const PickleValue& value = *open.back();
    open.pop_back();
    for (const char c : value.text) sink = c;
    if (value.kind == PickleValue::Kind::kDict) require(value.items.size() % 2 == 0);
    if (value.kind == PickleValue::Kind::kStorage) require(value.items.size() == 5 || value.items.size() == 6);
    if (value.kind == PickleValue::Kind::kTensor) require(value.items.size() == 4);
    for (const PickleValue* item : value.items) {
      if (seen.insert(item).second) open.push_back(item);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  try {
    const Pickle pickle(soundspot::fuzz::text(data, bytes));
    visit(pickle.root());
    require(pickle.size() == bytes);
    for (const PickleValue* storage : pickle.storages()) visit(*storage);
  } catch (const soundspot::checkpoint::FormatError&) {
  }
  return 0;
}
