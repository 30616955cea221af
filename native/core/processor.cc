#include "core/processor.h"

#include <ATen/Version.h>
#include <ATen/cpu/Utils.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <utility>

#if defined(__x86_64__) || defined(_M_X64)
#define SOUNDSPOT_CPUID
#ifdef _MSC_VER
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

namespace soundspot::core {

namespace {

constexpr uint32_t bit(Feature feature) { return 1U << static_cast<unsigned>(feature); }

/// Sets of features that a cap leaves, each with all of the lesser ones.
constexpr uint32_t kOfAvx2 = bit(Feature::kAvx2) | bit(Feature::kFma);
constexpr uint32_t kOfAvx2Vnni = kOfAvx2 | bit(Feature::kAvxVnni);
constexpr uint32_t kOfAvx512 = kOfAvx2 | bit(Feature::kAvx512);
constexpr uint32_t kOfAvx512Vnni = kOfAvx512 | bit(Feature::kAvx512Vnni);
constexpr uint32_t kOfAvx512Bfloat16 = kOfAvx512Vnni | bit(Feature::kAvxVnni) | bit(Feature::kAvx512Bfloat16);
constexpr uint32_t kEverything = ~0U;

/// The features that the value of an environment variable leaves. Unlisted values cap nothing.
using Cap = std::pair<const char*, uint32_t>;
constexpr std::array kOneDnnCaps{
    Cap{"SSE41", 0},
    Cap{"AVX", 0},
    Cap{"AVX2", kOfAvx2},
    Cap{"AVX2_VNNI", kOfAvx2Vnni},
    Cap{"AVX2_VNNI_2", kOfAvx2Vnni},
    Cap{"AVX512_CORE", kOfAvx512},
    Cap{"AVX512_CORE_VNNI", kOfAvx512Vnni},
    Cap{"AVX512_CORE_BF16", kOfAvx512Bfloat16},
    Cap{"AVX10_1_512", kOfAvx512Bfloat16},
    Cap{"AVX512_CORE_FP16", kOfAvx512Bfloat16},
};

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::toupper(c); });
  return text;
}

uint32_t left_by_onednn() {
#ifdef SOUNDSPOT_CPUID
  for (const char* variable : {"ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"}) {  // the older name
    const char* const value = std::getenv(variable);
    if (!value) continue;
    const std::string wanted = upper(value);
    for (const auto& [name, left] : kOneDnnCaps) {
      if (wanted == name) return left;
    }
    break;
  }
#endif
  return kEverything;
}

/// LibTorch has read its variable itself, and reports the result.
uint32_t left_by_libtorch() {
#ifdef SOUNDSPOT_CPUID
  const std::string capability = at::get_cpu_capability();
  if (capability == "DEFAULT") return 0;
  if (capability == "AVX2") return kOfAvx2Vnni;
#endif
  return kEverything;
}

/// The two texts that the processor reports: its vendor and its name.
std::pair<std::string, std::string> identity() {
  std::string vendor, name;
#ifdef SOUNDSPOT_CPUID
  const auto ask = [](uint32_t leaf) {
    std::array<uint32_t, 4> registers{};
#ifdef _MSC_VER
    std::array<int, 4> values{};
    __cpuid(values.data(), static_cast<int>(leaf));
    std::copy(values.begin(), values.end(), registers.begin());
#else
    __get_cpuid(leaf, &registers[0], &registers[1], &registers[2], &registers[3]);
#endif
    return registers;
  };
  const auto text = [](uint32_t value, std::string& to) {
    for (int shift = 0; shift < 32; shift += 8) {
      if (const char c = static_cast<char>(value >> shift & 0xFFU)) to.push_back(c);
    }
  };
  const auto [highest, b, c, d] = ask(0);
  for (const uint32_t part : {b, d, c}) text(part, vendor);
  constexpr uint32_t kBrand = 0x80000002;
  for (uint32_t leaf = kBrand; leaf < kBrand + 3; ++leaf) {
    for (const uint32_t part : ask(leaf)) text(part, name);
  }
  const size_t first = name.find_first_not_of(' '), last = name.find_last_not_of(' ');
  name = first == std::string::npos ? "" : name.substr(first, last - first + 1);
#elif defined(__aarch64__) || defined(_M_ARM64)
  vendor = "ARM";
#endif
  return {vendor, name};
}

Vendor vendor_named(const std::string& text) {
  if (text == "GenuineIntel") return Vendor::kIntel;
  if (text == "AuthenticAMD" || text == "HygonGenuine") return Vendor::kAmd;
  if (text == "ARM") return Vendor::kArm;
  return Vendor::kOther;
}

}  // namespace

const char* name_of(Feature feature) {
  constexpr std::array<const char*, static_cast<size_t>(Feature::kCount)> names{
      "avx2",     "fma",      "avx512", "avx_vnni", "avx512_vnni", "avx512_bf16",
      "amx_bf16", "amx_int8", "neon",   "arm_bf16", "arm_int8"};
  return names[static_cast<size_t>(feature)];
}

const char* name_of(Vendor vendor) {
  constexpr std::array names{"intel", "amd", "arm", "other"};
  return names[static_cast<size_t>(vendor)];
}

const char* name_of(InstructionSet set) {
  constexpr std::array names{"default", "avx2", "avx512", "avx512_bf16"};
  return names[static_cast<size_t>(set)];
}

Processor::Processor() {
  const auto [vendor, name] = identity();
  vendor_ = vendor_named(vendor);
  name_ = name;

  const auto capabilities = at::cpu::get_cpu_capabilities();
  const auto all = [&](const std::vector<const char*>& names) {
    return std::all_of(names.begin(), names.end(), [&](const char* each) {
      const auto found = capabilities.find(each);
      return found != capabilities.end() && found->second.isBool() && found->second.toBool();
    });
  };
  using Needs = std::pair<Feature, std::vector<const char*>>;
  for (const auto& [feature, needs] : std::initializer_list<Needs>{
           Needs{Feature::kAvx2, {"avx2", "f16c"}},
           Needs{Feature::kFma, {"fma3"}},
           Needs{Feature::kAvx512, {"avx512_f", "avx512_bw", "avx512_vl", "avx512_dq"}},
           Needs{Feature::kAvxVnni, {"avx_vnni"}},
           Needs{Feature::kAvx512Vnni, {"avx512_vnni"}},
           Needs{Feature::kAvx512Bfloat16, {"avx512_bf16"}},
           Needs{Feature::kAmxBfloat16, {"amx_tile", "amx_bf16"}},
           Needs{Feature::kAmxInt8, {"amx_tile", "amx_int8"}},
           Needs{Feature::kNeon, {"neon"}},
           Needs{Feature::kArmBfloat16, {"bf16"}},
           Needs{Feature::kArmInt8, {"i8mm"}},
       }) {
    if (all(needs)) hardware_ |= bit(feature);
  }
  used_ = hardware_ & left_by_libtorch() & left_by_onednn();

  const bool avx2 = has(Feature::kAvx2) && has(Feature::kFma), avx512 = avx2 && has(Feature::kAvx512);
  set_ = avx512 && has(Feature::kAvx512Bfloat16) ? InstructionSet::kAvx512Bfloat16
         : avx512                                ? InstructionSet::kAvx512
         : avx2                                  ? InstructionSet::kAvx2
                                                 : InstructionSet::kDefault;
}

std::vector<std::string> Processor::names(uint32_t features) {
  std::vector<std::string> result;
  for (unsigned i = 0; i < static_cast<unsigned>(Feature::kCount); ++i) {
    if (features >> i & 1U) result.emplace_back(name_of(static_cast<Feature>(i)));
  }
  return result;
}

bool Processor::multiplies_bfloat16() const {
  return has(Feature::kAvx512Bfloat16) || has(Feature::kAmxBfloat16) || has(Feature::kArmBfloat16);
}

bool Processor::multiplies_bytes() const {
  return has(Feature::kAvxVnni) || has(Feature::kAvx512Vnni) || has(Feature::kAmxInt8) || has(Feature::kArmInt8);
}

const Processor& processor() {
  static const Processor found;
  return found;
}

}  // namespace soundspot::core
