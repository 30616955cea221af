// A store of samples, as JavaScript holds it.
#pragma once

#include "signal/augment.h"
#include "store/sample_store.h"

namespace soundspot::binding {

/// A store, and in which form it has images: what `signal::before_crop` makes of them.
struct OpenStore {
  store::SampleStore samples;
  signal::Crop crop;
  int64_t side;
};

}  // namespace soundspot::binding
