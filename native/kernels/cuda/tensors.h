// What the functions on tensors share: the kernels' number types, and packs where memory allows them.
#pragma once

#include "core/torch.h"
#include "kernels/cuda/block.h"

namespace soundspot::kernels::cuda {

/// The type of tensors whose elements a kernel has as `Number`.
template <class Number>
inline constexpr at::ScalarType kTypeOf = c10::CppTypeToScalarType<Number>::value;
template <>
inline constexpr at::ScalarType kTypeOf<BFloat16> = at::kBFloat16;

/// The memory of a tensor, null where it is undefined. A tensor of another type is rejected: a kernel would read past
/// its end.
template <class Number>
const Number* read(const Tensor& x) {
  if (!x.defined()) return nullptr;
  TORCH_CHECK(x.scalar_type() == kTypeOf<Number>, "a tensor of ", kTypeOf<Number>, " was expected, not of ",
              x.scalar_type());
  return static_cast<const Number*>(x.const_data_ptr());
}

template <class Number>
Number* write(const Tensor& x) {
  read<Number>(x);
  return x.defined() ? static_cast<Number*>(x.mutable_data_ptr()) : nullptr;
}

template <int width>
struct Width {
  static constexpr int value = width;
};

/// Bytes of the widest load.
constexpr int kPackBytes = 16;

/// Whether rows of `count` numbers of every tensor can be read by packs. Tensors may be undefined.
inline bool packs(int64_t count, std::initializer_list<Tensor> tensors) {
  for (const Tensor& tensor : tensors) {
    if (!tensor.defined()) continue;
    const bool fits = (count * tensor.element_size()) % kPackBytes == 0;
    if (!fits || reinterpret_cast<uintptr_t>(tensor.const_data_ptr()) % kPackBytes != 0) return false;
  }
  return true;
}

/// Calls `work(Number{}, Width<w>{})` for the type of `x`, which the tensors of `others` share.
template <class Work>
void with_packs(const Tensor& x, int64_t count, std::initializer_list<Tensor> others, const Work& work) {
  const bool packed = packs(count, {x}) && packs(count, others);
  if (x.scalar_type() == at::kBFloat16) {
    if (packed) return work(BFloat16{}, Width<8>{});
    return work(BFloat16{}, Width<1>{});
  }
  TORCH_CHECK(x.scalar_type() == at::kFloat, "float32 or bfloat16 was expected, not ", x.scalar_type());
  if (packed) return work(float{}, Width<4>{});
  return work(float{}, Width<1>{});
}

}  // namespace soundspot::kernels::cuda
