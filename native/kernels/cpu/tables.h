// The parts of a table of kernels, one function a source, in the namespace of the instruction set.
#pragma once

#include "kernels/cpu/kernels.h"

namespace soundspot::kernels {
inline namespace CPU_CAPABILITY {

void fill_products(Kernels& table);
void fill_panels(Kernels& table);
void fill_streams(Kernels& table);
void fill_slots(Kernels& table);
void fill_normalization(Kernels& table);
void fill_winograd(Kernels& table);
void fill_tiles(Kernels& table);
void fill_stem(Kernels& table);
void fill_bytes(Kernels& table);

}  // namespace CPU_CAPABILITY
}  // namespace soundspot::kernels
