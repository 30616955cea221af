// Picks the kernels of the best instruction set that the processor has, as LibTorch picks its own.
#include "kernels/cpu/kernels.h"
#include "torch.h"

namespace soundspot::kernels {

namespace DEFAULT {
const Kernels& table();
}
#ifdef SOUNDSPOT_X86
namespace AVX2 {
const Kernels& table();
}
namespace AVX512 {
const Kernels& table();
}
#endif

const Kernels& kernels() {
  static const Kernels& chosen = []() -> const Kernels& {
#ifdef SOUNDSPOT_X86
    const std::string capability = at::get_cpu_capability();
    if (capability == "AVX512") return AVX512::table();
    if (capability == "AVX2") return AVX2::table();
#endif
    return DEFAULT::table();
  }();
  return chosen;
}

}  // namespace soundspot::kernels
