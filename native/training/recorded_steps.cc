#include "training/recorded_steps.h"

#include "kernels/recordings.h"

namespace soundspot::training {

namespace {

constexpr int kBefore = 2;           // steps of a key before it is recorded: libraries and the optimizer begin in them
constexpr size_t kMostRecorded = 4;  // they hold their memory
constexpr size_t kMostKeys = 16;

void copy(const methods::View& from, methods::View& to) {
  to.images.copy_(from.images);
  to.spectrograms.copy_(from.spectrograms);
}

methods::View cloned(const methods::View& view) { return {view.images.clone(), view.spectrograms.clone()}; }

}  // namespace

Outcome RecordedSteps::take(const std::string& key, const methods::Views& views, const core::Draws& draws,
                            const Work& work) {
  if (entries_.size() >= kMostKeys && entries_.find(key) == entries_.end()) {
    std::erase_if(entries_, [](const auto& each) { return !each.second.recording; });
  }
  Entry& entry = entries_[key];
  entry.used = ++calls_;
  if (entry.recording) {
    copy(views.pairs, entry.views.pairs);
    for (auto& [name, view] : entry.views.others) copy(views.others.at(name), view);
    entry.draws.renew(draws);
    entry.recording->replay();
    while (entry.outcomes.size() > 1) entry.outcomes.pop_front();  // of a recording that does the work again
    return entry.outcomes.back();
  }
  const bool wait = entry.rejected || entry.seen++ < kBefore;
  return wait ? work(views, draws) : record(entry, views, draws, work);
}

void RecordedSteps::reject(Entry& entry) {
  entry = Entry();
  entry.rejected = true;
}

Outcome RecordedSteps::record(Entry& entry, const methods::Views& views, const core::Draws& draws, const Work& work) {
  const kernels::Recording* const beside = kernels::make_room(entries_, kMostRecorded);
  const at::Device device = views.pairs.images.device();
  const auto* const kernels = kernels::kernels_of(device);
  if (kernels == nullptr) {
    entry.rejected = true;
    return work(views, draws);
  }
  entry.views.pairs = cloned(views.pairs);
  for (const auto& [name, view] : views.others) entry.views.others.emplace(name, cloned(view));
  std::exception_ptr failure;
  try {
    entry.recording = kernels->record(
        device,
        [&entry, draws, work] {
          entry.draws.begin();
          entry.outcomes.push_back(work(entry.views, draws.kept_by(entry.draws)));
        },
        beside);
  } catch (...) {
    failure = std::current_exception();
  }
  if (entry.outcomes.empty()) {
    reject(entry);
    if (failure) std::rethrow_exception(failure);
    return work(views, draws);  // this device records nothing
  }
  const Outcome taken = entry.outcomes.front();
  if (!entry.recording || entry.draws.on_host()) {
    reject(entry);
  }
  return taken;
}

}  // namespace soundspot::training
