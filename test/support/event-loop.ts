/** Whether work leaves the event loop to others, by a count that does not depend on the pace of the machine. */

/** @returns how many turns the event loop took while `work` went on */
export async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  let next = setImmediate(function turn() {
    turns++;
    next = setImmediate(turn);
  });
  try {
    await work();
  } finally {
    clearImmediate(next);
  }
  return turns;
}
