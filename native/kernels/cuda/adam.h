// One step of Adam or AdamW on many tensors: the gradients' norm in two stages, then the update, which looks on the
// device whether it is to be taken and by what the gradients are to be multiplied.
#pragma once

#include "kernels/cuda/block.h"

namespace soundspot::kernels::cuda {

/// Tensors of one launch: what fits into a kernel's arguments, 4 KiB. The elements of each are cut into chunks, a block
/// each.
struct AdamTensors {
  static constexpr int kMost = 56;
  static constexpr int64_t kChunk = 16384;

  struct One {
    float *value, *mean, *square, *step;  // step [1]
    const float* gradient;
    int64_t count;
    int64_t first_block;
    bool packed;  // all four lie where packs may be read
  };
  One all[kMost];
  int count = 0;
  int64_t blocks = 0;

  /// The tensor of a block, by bisection.
  SOUNDSPOT_DEVICE const One& of(int64_t block) const {
    int low = 0, high = count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (all[middle].first_block <= block) {
        low = middle;
      } else {
        high = middle;
      }
    }
    return all[low];
  }
};

/// Of every chunk the sum of squares of the gradient, in double: no finite float overflows it.
struct SquaredNorm {
  static constexpr int kThreads = 256;
  static constexpr int64_t kShared = kThreads / kWarp * sizeof(Values<double, 1>);

  AdamTensors tensors;
  double* partial;  // [blocks]

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    typename Block::template Local<Values<double, 1>> sums(block);
    block.own([&](int thread) {
      sums[thread].zero();
      const AdamTensors::One& own = tensors.of(block.x());
      const int64_t first = (block.x() - own.first_block) * AdamTensors::kChunk;
      const int64_t end = first + AdamTensors::kChunk < own.count ? first + AdamTensors::kChunk : own.count;
      if (own.packed) {
        for (int64_t i = first + 4 * thread; i < end; i += 4 * kThreads) {
          float value[4];
          load_floats<4>(own.gradient + i, value);
          SOUNDSPOT_UNROLL
          for (int k = 0; k < 4; ++k) {
            const auto exact = static_cast<double>(value[k]);
            sums[thread].v[0] += exact * exact;
          }
        }
        return;
      }
      for (int64_t i = first + thread; i < end; i += kThreads) {
        const auto exact = static_cast<double>(own.gradient[i]);
        sums[thread].v[0] += exact * exact;
      }
    });
    block_sum(block, sums, block.template shared<Values<double, 1>>());
    block.own([&](int thread) {
      if (thread == 0) partial[block.x()] = sums[thread].v[0];
    });
  }
};

/// The norm, whether it and the losses are finite, and what clipping divides the gradients by. One block.
struct JoinNorm {
  static constexpr int kThreads = 256;
  static constexpr int64_t kShared = kThreads / kWarp * sizeof(Values<double, 1>);

  const double* partial;
  int64_t count;
  const float* losses;  // null, or a number that is finite where the losses are
  double clip;          // the greatest norm; 0 for any
  double* norm;
  float* divisor;
  bool* finite;

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    typename Block::template Local<Values<double, 1>> sums(block);
    block.own([&](int thread) {
      sums[thread].zero();
      for (int64_t i = thread; i < count; i += kThreads) sums[thread].v[0] += partial[i];
    });
    block_sum(block, sums, block.template shared<Values<double, 1>>());
    block.own([&](int thread) {
      if (thread != 0) return;
      const double length = sqrt(sums[thread].v[0]);
      // x − x is 0 for finite numbers alone.
      const bool good = length - length == 0 && (losses == nullptr || *losses - *losses == 0);
      *norm = length;
      *finite = good;
      *divisor = good && clip > 0 && length > clip ? static_cast<float>(length / clip) : 1;
    });
  }
};

/// Counts the step of each tensor where it is to be taken. One block.
struct CountSteps {
  static constexpr int kThreads = 64;
  static_assert(kThreads >= AdamTensors::kMost);

  AdamTensors tensors;
  const bool* taken;  // null: yes

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    block.own([&](int thread) {
      if (thread < tensors.count && (taken == nullptr || *taken)) *tensors.all[thread].step += 1;
    });
  }
};

/// The update (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2 with either
/// decay), after CountSteps. Nothing changes where `taken` is false.
struct AdamUpdate {
  static constexpr int kThreads = 256;
  static constexpr int64_t kShared = 2 * sizeof(float);

  AdamTensors tensors;
  const bool* taken;           // null: yes
  const float* divisor;        // of the gradients; null: 1
  const float* learning_rate;  // [1] on the device, so that a captured graph follows a schedule
  double log_beta1, log_beta2;
  float beta1, beta2, rest1, rest2;  // 1 − β from double: float has four digits of it
  float epsilon, decay;
  bool coupled;

  template <class Block>
  SOUNDSPOT_DEVICE void operator()(Block& block) const {
    // 1 − β^step, in double by one thread: for β near 1 float has no digits left.
    float* const shared = block.template shared<float>();
    block.each([&](int thread) {
      if (thread != 0) return;
      const auto step = static_cast<double>(*tensors.of(block.x()).step);
      shared[0] = static_cast<float>(-expm1(step * log_beta1));
      shared[1] = static_cast<float>(sqrt(-expm1(step * log_beta2)));
    });
    block.own([&](int thread) {
      if (taken != nullptr && !*taken) return;
      const AdamTensors::One& own = tensors.of(block.x());
      const float rate = *learning_rate, scale = divisor != nullptr ? 1 / *divisor : 1, kept = 1 - rate * decay,
                  length = rate / shared[0], deviation = 1 / shared[1];
      const int64_t first = (block.x() - own.first_block) * AdamTensors::kChunk;
      const int64_t end = first + AdamTensors::kChunk < own.count ? first + AdamTensors::kChunk : own.count;
      const auto update = [&](float& value, float& mean, float& square, float gradient) {
        gradient *= scale;
        if (coupled) {
          gradient += decay * value;
        } else {
          value *= kept;
        }
        mean = beta1 * mean + rest1 * gradient;
        square = beta2 * square + rest2 * gradient * gradient;
        value -= length * mean / (sqrtf(square) * deviation + epsilon);
      };
      if (own.packed) {
        for (int64_t i = first + 4 * thread; i < end; i += 4 * kThreads) {
          float value[4], mean[4], square[4], gradient[4];
          load_floats<4>(own.value + i, value);
          load_floats<4>(own.mean + i, mean);
          load_floats<4>(own.square + i, square);
          load_floats<4>(own.gradient + i, gradient);
          SOUNDSPOT_UNROLL
          for (int k = 0; k < 4; ++k) update(value[k], mean[k], square[k], gradient[k]);
          store_floats<4>(value, own.value + i);
          store_floats<4>(mean, own.mean + i);
          store_floats<4>(square, own.square + i);
        }
        return;
      }
      for (int64_t i = first + thread; i < end; i += kThreads) {
        update(own.value[i], own.mean[i], own.square[i], own.gradient[i]);
      }
    });
  }
};

static_assert(sizeof(AdamUpdate) <= 4096);

}  // namespace soundspot::kernels::cuda
