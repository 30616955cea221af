// Products of stacked rows, aᵀ · b, such as a weight's gradient: both factors are packed.
#include <cstring>

#include "kernels/cpu/tables.h"
#include "kernels/cpu/vectors.h"

namespace soundspot::kernels {
inline namespace CPU_CAPABILITY {

namespace {

#ifdef __AVX512BF16__
constexpr int64_t kOutputs = 8;  // rows of the result whose sums fit into the registers
static_assert(kPanel % kOutputs == 0);

void multiply_stacked_pairs(const bfloat16_bits* a, const bfloat16_bits* b, int64_t rows, float* out,
                            int64_t out_stride) {
  for (int64_t first = 0; first < kPanel; first += kOutputs) {
    __m512 sums[kOutputs][2];
    for (auto& row : sums) row[0] = row[1] = _mm512_setzero_ps();
    for (int64_t r = 0; r < rows; r += 2) {
      const auto left = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b + r * kPanel));
      const auto right = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b + r * kPanel + kPanel));
      for (int64_t o = 0; o < kOutputs; ++o) {
        int32_t pair;
        std::memcpy(&pair, a + r * kPanel + 2 * (first + o), sizeof(pair));
        const auto factor = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
        sums[o][0] = _mm512_dpbf16_ps(sums[o][0], left, factor);
        sums[o][1] = _mm512_dpbf16_ps(sums[o][1], right, factor);
      }
    }
    for (int64_t o = 0; o < kOutputs; ++o) {
      float* const to = out + (first + o) * out_stride;
      _mm512_storeu_ps(to, sums[o][0]);
      _mm512_storeu_ps(to + kLanes, sums[o][1]);
    }
  }
}
#endif

}  // namespace

void fill_gradients([[maybe_unused]] Kernels& table) {
#ifdef __AVX512BF16__
  table.multiply_stacked_pairs = multiply_stacked_pairs;
#endif
}

}  // namespace CPU_CAPABILITY
}  // namespace soundspot::kernels
