// Picks the kernels of the widest instruction set that is used on this processor.
#include "core/processor.h"
#include "kernels/cpu/kernels.h"

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
    switch (core::processor().instruction_set()) {
#ifdef SOUNDSPOT_X86
      case core::InstructionSet::kAvx512Bfloat16:
#ifdef SOUNDSPOT_AVX512_BF16
        return AVX512_BF16::table();
#endif
      case core::InstructionSet::kAvx512:
        return AVX512::table();
      case core::InstructionSet::kAvx2:
        return AVX2::table();
#endif
      default:
        return DEFAULT::table();
    }
  }();
  return chosen;
}

}  // namespace soundspot::kernels
