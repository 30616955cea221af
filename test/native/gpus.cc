// Reads lines of "architectures major minor", and prints 1 where code for them runs on such a GPU, else 0.
#include "core/gpus.h"

#include <iostream>

int main() {
  std::string architectures;
  int major = 0, minor = 0;
  while (std::cin >> architectures >> major >> minor) {
    std::cout << soundspot::core::runs_on(architectures, major, minor) << '\n';
  }
}
