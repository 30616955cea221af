/** Work that SIGINT and SIGTERM stop cleanly. */
import { SoundspotError } from "../core/errors.js";

/**
 * Gives the work an AbortSignal that fires on SIGINT and SIGTERM.
 * @param stopped error message for the signal of this name; without it the work's own error is thrown
 * @throws {SoundspotError} ERR_ABORTED with that message; the errors of the work.
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
