// What a kernel's block computes, written once for the GPU and for the host. A kernel is a struct of its arguments,
//
//   template <class Block> SOUNDSPOT_DEVICE void operator()(Block& block) const;
//
// and a sequence of phases. `block.each(work)` calls `work(thread)` for every thread of the block and ends with a
// barrier: what a phase writes to shared or global memory any thread may read in the next. `block.own(work)` has no
// barrier: what it writes only the same thread may read before the next barrier. A value that a thread keeps from one
// phase to the next is a `Block::Local<T>`, a register on the GPU. Sums over a warp take the place of shuffles.
//
// device.cuh has the Block of the GPU, host.h that of the host, where the threads of a phase run one after another.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/device_code.h"

namespace soundspot::kernels::cuda {

constexpr int kWarp = 32;

/// Blocks of a launch, as x and y, and bytes of shared memory of each block.
struct Grid {
  int64_t x = 1, y = 1;
  int64_t shared = 0;
};

SOUNDSPOT_HOST_DEVICE constexpr int64_t divided_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Bits of a bfloat16; conversions as at::BFloat16 has them, rounding to nearest even.
struct BFloat16 {
  uint16_t bits;
};

SOUNDSPOT_DEVICE float to_float(float value) { return value; }

SOUNDSPOT_DEVICE float to_float(BFloat16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float result;
  memcpy(&result, &bits, sizeof(result));
  return result;
}

SOUNDSPOT_DEVICE void put(float value, float& out) { out = value; }

SOUNDSPOT_DEVICE void put(float value, BFloat16& out) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  out.bits = value != value ? static_cast<uint16_t>(0x7fc0)
                            : static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/// `count` numbers at an address that is a multiple of their size, 16 bytes at most: what one instruction loads.
template <class Number, int count>
struct alignas(sizeof(Number) * count < 16 ? sizeof(Number) * count : 16) Pack {
  Number v[count];
};

template <int count, class Number>
SOUNDSPOT_DEVICE Pack<Number, count> load(const Number* from) {
  return *reinterpret_cast<const Pack<Number, count>*>(from);
}

template <int count, class Number>
SOUNDSPOT_DEVICE void store(Number* to, const Pack<Number, count>& pack) {
  *reinterpret_cast<Pack<Number, count>*>(to) = pack;
}

/// Loads `count` numbers as floats.
template <int count, class Number>
SOUNDSPOT_DEVICE void load_floats(const Number* from, float* to) {
  const Pack<Number, count> pack = load<count>(from);
  SOUNDSPOT_UNROLL
  for (int i = 0; i < count; ++i) to[i] = to_float(pack.v[i]);
}

template <int count, class Number>
SOUNDSPOT_DEVICE void store_floats(const float* from, Number* to) {
  Pack<Number, count> pack;
  SOUNDSPOT_UNROLL
  for (int i = 0; i < count; ++i) put(from[i], pack.v[i]);
  store<count>(to, pack);
}

/// What a thread sums at once.
template <class T, int count>
struct Values {
  T v[count];

  SOUNDSPOT_DEVICE void zero() {
    SOUNDSPOT_UNROLL
    for (int i = 0; i < count; ++i) v[i] = 0;
  }
};

/// Sums of one value per thread over the whole block, the same in every thread. `shared` has a place for each warp.
/// Every thread adds the warps in their order.
template <class T, int count, class Block>
SOUNDSPOT_DEVICE void block_sum(Block& block, typename Block::template Local<Values<T, count>>& values,
                                Values<T, count>* shared) {
  block.warp_sum(values);
  block.each([&](int thread) {
    if (thread % kWarp == 0) shared[thread / kWarp] = values[thread];
  });
  block.each([&](int thread) {
    Values<T, count> total;
    total.zero();
    for (int warp = 0; warp < block.threads() / kWarp; ++warp) {
      SOUNDSPOT_UNROLL
      for (int i = 0; i < count; ++i) total.v[i] += shared[warp].v[i];
    }
    values[thread] = total;
  });
}

}  // namespace soundspot::kernels::cuda
