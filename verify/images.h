// Images of a batch as augmentation on a device takes them.
#pragma once

#include "signal/augment.h"

namespace soundspot::verify {

struct ImageBatch {
  Tensor squares;   // [B, size, size, 3] uint8
  Tensor changes;   // [B, bytes of a signal::ImageChange] uint8
  Tensor expected;  // what the CPU makes of them, [B, 3, size, size] float32
};

/// Of random pixels and changes that follow from `seed` alone.
ImageBatch drawn_images(int64_t batch, const signal::ImageAugmentation& options, uint64_t seed);

}  // namespace soundspot::verify
