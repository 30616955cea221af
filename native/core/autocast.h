// bfloat16 autocast for one scope and thread, where the computation wants it.
#pragma once

#include "core/compute.h"

namespace soundspot::core {

class Autocast {
 public:
  explicit Autocast(const core::Compute& compute)
      : device_(compute.device.type()), before_(at::autocast::is_autocast_enabled(device_)) {
    at::autocast::set_autocast_enabled(device_, compute.bfloat16());
    if (compute.bfloat16()) at::autocast::set_autocast_dtype(device_, at::kBFloat16);
    at::autocast::increment_nesting();
  }
  ~Autocast() {
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device_, before_);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  const at::DeviceType device_;
  const bool before_;
};

}  // namespace soundspot::core
