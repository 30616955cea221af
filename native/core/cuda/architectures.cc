#include <sstream>

#include "core/gpus.h"

namespace soundspot::core {

bool runs_on(const std::string& architectures, int major, int minor) {
  std::istringstream list(architectures);
  const int wanted = 10 * major + minor;
  for (std::string each; std::getline(list, each, ',');) {
    const int has = std::atoi(each.c_str());  // stops at the first letter: "90a-real"
    const bool compiles = each.find("-real") == std::string::npos;
    const bool machine_code = each.find("-virtual") == std::string::npos;
    if (compiles && wanted >= has) return true;
    if (machine_code && wanted / 10 == has / 10 && wanted >= has) return true;
  }
  return false;
}

}  // namespace soundspot::core
