// A training run as JavaScript holds it: its state and the model it trains.
#pragma once

#include "binding/convert.h"
#include "training/step.h"

namespace soundspot::binding {

struct TrainerHandle {
  TrainerHandle(std::shared_ptr<ModelHandle> trained, uint64_t seed,
                c10::intrusive_ptr<distributed::ProcessGroup> group)
      : model(std::move(trained)), state(model->localizer, seed, std::move(group)) {}
  std::shared_ptr<ModelHandle> model;
  training::TrainingState state;
};

}  // namespace soundspot::binding
