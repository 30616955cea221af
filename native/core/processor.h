// The processor's features, and those that each fast path needs. Detected once, in this file alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace soundspot::core {

enum class Vendor { kIntel, kAmd, kArm, kOther };

/// The widest instructions that this package's kernels use.
enum class InstructionSet { kDefault, kAvx2, kAvx512, kAvx512Bfloat16 };

/// Abilities that a fast path may need.
enum class Feature : uint8_t {
  kAvx2,
  kFma,
  kAvx512,          // F, BW, VL and DQ
  kAvxVnni,         // byte dot products of 256 bits
  kAvx512Vnni,      // byte dot products of 512 bits
  kAvx512Bfloat16,  // dot products of bfloat16 pairs
  kAmxBfloat16,     // tiles, with products of bfloat16
  kAmxInt8,         // tiles, with products of bytes
  kNeon,
  kArmBfloat16,
  kArmInt8,  // products of matrices of bytes
  kCount,
};

/// @return the name in messages and in JavaScript, such as "avx512_bf16"
const char* name_of(Feature feature);
const char* name_of(Vendor vendor);
const char* name_of(InstructionSet set);

/// The features that are used: those of the hardware, less what the caps of the environment take away.
///
/// ATEN_CPU_CAPABILITY (default, avx2, avx512) caps LibTorch's own kernels, ONEDNN_MAX_CPU_ISA (SSE41, AVX2,
/// AVX512_CORE, …) those of oneDNN. Whatever either excludes is used nowhere, so that a capped machine takes the paths
/// of a lesser one.
class Processor {
 public:
  Vendor vendor() const { return vendor_; }
  const std::string& name() const { return name_; }
  InstructionSet instruction_set() const { return set_; }
  bool has(Feature feature) const { return used_ >> static_cast<unsigned>(feature) & 1U; }

  /// The features of the hardware, and those in use.
  std::vector<std::string> hardware() const { return names(hardware_); }
  std::vector<std::string> features() const { return names(used_); }

  /// Whether products of bfloat16 are single instructions. Elsewhere they are slower than float32, or impossible.
  bool multiplies_bfloat16() const;
  /// The same for bytes.
  bool multiplies_bytes() const;

 private:
  friend const Processor& processor();
  Processor();
  static std::vector<std::string> names(uint32_t features);

  Vendor vendor_;
  std::string name_;
  uint32_t hardware_ = 0, used_ = 0;
  InstructionSet set_;
};

/// This machine's. The first call takes some milliseconds; the addon makes it when it is loaded.
const Processor& processor();

}  // namespace soundspot::core
