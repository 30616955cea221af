// The peak memory of this process.
import { readFileSync } from "node:fs";

/** MiB. On Linux of this program alone: the figure of the system's usage begins with that of the parent process. */
export function peakMemory() {
  try {
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;
  } catch {
    return process.resourceUsage().maxRSS / 1024;
  }
}
