// Picks the kernels of the best instruction set that the processor has, as LibTorch picks its own.
#include <ATen/cpu/Utils.h>

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
#ifdef SOUNDSPOT_AVX512_BF16
namespace AVX512_BF16 {
const Kernels& table();
}
#endif

const Kernels& kernels() {
  static const Kernels& chosen = []() -> const Kernels& {
#ifdef SOUNDSPOT_X86
    const std::string capability = at::get_cpu_capability();
#ifdef SOUNDSPOT_AVX512_BF16
    const auto capabilities = at::cpu::get_cpu_capabilities();
    const auto bfloat16 = capabilities.find("avx512_bf16");
    if (capability == "AVX512" && bfloat16 != capabilities.end() && bfloat16->second.toBool()) {
      return AVX512_BF16::table();
    }
#endif
    if (capability == "AVX512") return AVX512::table();
    if (capability == "AVX2") return AVX2::table();
#endif
    return DEFAULT::table();
  }();
  return chosen;
}

}  // namespace soundspot::kernels
