// The table of one instruction set.
#include "kernels/cpu/tables.h"

#define SOUNDSPOT_TEXT(name) #name
#define SOUNDSPOT_NAME(name) SOUNDSPOT_TEXT(name)

namespace soundspot::kernels {
inline namespace CPU_CAPABILITY {

const Kernels& table();

const Kernels& table() {
  static const Kernels filled = [] {
    Kernels kernels{};
    kernels.name = SOUNDSPOT_NAME(CPU_CAPABILITY);
    fill_products(kernels);
    fill_panels(kernels);
    fill_streams(kernels);
    fill_slots(kernels);
    fill_normalization(kernels);
    fill_winograd(kernels);
    fill_tiles(kernels);
    fill_stem(kernels);
    fill_bytes(kernels);
    return kernels;
  }();
  return filled;
}

}  // namespace CPU_CAPABILITY
}  // namespace soundspot::kernels
