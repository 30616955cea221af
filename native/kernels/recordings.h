// A bounded number of recordings by key.
#pragma once

#include "kernels/device.h"

namespace soundspot::kernels {

/// Makes room for one more among `entries`, a map to what has a `recording`, which may be null, and `used`, the number
/// of the call that used it last: where there are `most`, the entry that was not used for longest goes.
/// @return a recording to share memory with; null where there is none.
template <class Entries>
const Recording* make_room(Entries& entries, size_t most) {
  size_t count = 0;
  auto oldest = entries.end(), newest = entries.end();
  for (auto each = entries.begin(); each != entries.end(); ++each) {
    if (!each->second.recording) continue;
    ++count;
    if (oldest == entries.end() || each->second.used < oldest->second.used) oldest = each;
    if (newest == entries.end() || each->second.used > newest->second.used) newest = each;
  }
  if (count >= most) {
    if (oldest == newest) newest = entries.end();
    entries.erase(oldest);
  }
  return newest == entries.end() ? nullptr : newest->second.recording.get();
}

}  // namespace soundspot::kernels
