// Training steps that a device recorded. A step is some thousand launches, which take the host longer than a GPU where
// batches are small.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>

#include "kernels/device.h"
#include "methods/method.h"
#include "training/outcome.h"

namespace soundspot::training {

/// Of one run: what is recorded looks at its parameters and its optimizer's state, which stay where they are.
class RecordedSteps {
 public:
  /// The whole work of a step on the device. It is called again after `take` has returned: it holds all it needs.
  using Work = std::function<Outcome(const methods::Views& views, const core::Draws& draws)>;

  /// Takes a step by its work, or repeats it where it was recorded. `key` names all that the work depends on beside
  /// views and draws. The third step of a key is recorded; one that cannot be is computed each time.
  /// @throws what `work` throws; nothing was recorded then.
  Outcome take(const std::string& key, const methods::Views& views, const core::Draws& draws, const Work& work);

  /// Forgets all: what was recorded looks at tensors that are no longer the run's.
  void clear() { entries_.clear(); }

 private:
  struct Entry {
    int seen = 0;
    int64_t used = 0;  // the number of the call that used it last
    bool rejected = false;
    methods::Views views;
    core::KeptDraws draws;
    std::list<Outcome> outcomes;  // the last one's tensors are those of a replay
    std::unique_ptr<kernels::Recording> recording;
  };

  static void reject(Entry& entry);
  /// Takes the step, and records it where that is possible.
  Outcome record(Entry& entry, const methods::Views& views, const core::Draws& draws, const Work& work);

  std::map<std::string, Entry> entries_;
  int64_t calls_ = 0;
};

}  // namespace soundspot::training
