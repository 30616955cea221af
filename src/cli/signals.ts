/** Work that SIGINT and SIGTERM stop in order. */
import { SoundspotError } from "../core/errors.js";

/**
 * Gives the work a signal that fires when the process is asked to end.
 * @param stopped what to say then, by the name of the signal; without it the work's own error stands
 * @throws {SoundspotError} ERR_ABORTED with those words; what the work throws.
 */
export async function stoppable<T>(
  work: (signal: AbortSignal) => Promise<T>,
  stopped?: (name: string) => string,
): Promise<T> {
  const stop = new AbortController();
  const onSignal = (name: NodeJS.Signals) => stop.abort(name);
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, onSignal);
  try {
    return await work(stop.signal);
  } catch (error) {
    if (!stop.signal.aborted || !stopped) throw error;
    throw new SoundspotError("ERR_ABORTED", stopped(String(stop.signal.reason)), { cause: error });
  } finally {
    for (const name of ["SIGINT", "SIGTERM"] as const) process.off(name, onSignal);
  }
}
