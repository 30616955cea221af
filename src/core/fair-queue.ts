/** A queue with a line for each client: lines are served in turns, a line in its order. */

export class FairQueue<Item> implements Iterable<Item> {
  /** By client, in the order of the next turns; no line is empty. */
  readonly #lines = new Map<string, Set<Item>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds an item to the end of its client's line. A new line gets its turn after those that wait already. */
  add(item: Item, client = ""): void {
    const line = this.#lines.get(client);
    if (line?.has(item)) return;
    if (line) line.add(item);
    else this.#lines.set(client, new Set([item]));
    this.#size++;
  }

  /** Removes an item that waits no longer; its line keeps its turn. */
  delete(item: Item, client = ""): boolean {
    const line = this.#lines.get(client);
    if (!line?.delete(item)) return false;
    if (line.size === 0) this.#lines.delete(client);
    this.#size--;
    return true;
  }

  /** Takes the item whose turn it is, and puts its line behind the others. */
  shift(): Item | undefined {
    for (const [client, line] of this.#lines) {
      for (const item of line) {
        this.delete(item, client);
        if (line.size > 0) {
          this.#lines.delete(client);
          this.#lines.set(client, line);
        }
        return item;
      }
    }
    return undefined;
  }

  /** All items, line by line. Items may be removed meanwhile. */
  *[Symbol.iterator](): IterableIterator<Item> {
    for (const line of this.#lines.values()) yield* line;
  }
}
