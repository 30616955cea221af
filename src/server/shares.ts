/** A supply that clients share: each may hold a part of it that leaves some for the others. */
import type { Client } from "./clients.js";

/** Why a client gets nothing: the supply is used up, or this client has its share of it. */
export type Shortage = "full" | "share";

/**
 * A client that is alone may hold `alone` of `total`. With others it may hold `alone / (total − alone)` times what is
 * free: shares shrink with every client, and what a client gives back beyond its share goes to the others. The last of
 * the supply is only for clients that hold nothing. Clients without a limit may hold all.
 */
export class Shares {
  readonly #total: number;
  readonly #alone: number;
  /** By key; none is 0. */
  readonly #held = new Map<string, number>();
  #used = 0;

  constructor(total: number, alone: number) {
    this.#total = total;
    this.#alone = Math.min(alone, total);
  }

  get used(): number {
    return this.#used;
  }

  heldBy({ key }: Client): number {
    return this.#held.get(key) ?? 0;
  }

  /** Why `amount` more is not for this client; undefined when it is. */
  shortage(client: Client, amount = 1): Shortage | undefined {
    if (this.#used + amount > this.#total) return "full";
    return this.pastShare(client, amount) ? "share" : undefined;
  }

  /** Whether `amount` more is beyond what a client may hold at the moment. */
  pastShare(client: Client, amount = 1): boolean {
    const held = this.heldBy(client);
    if (!client.limited || held === 0 || this.#alone === this.#total) return false;
    const free = this.#total - this.#used;
    return free <= amount || held * (this.#total - this.#alone) >= this.#alone * free;
  }

  /** Counts without a check. */
  take({ key }: Client, amount = 1): void {
    this.#used += amount;
    this.#count(key, amount);
  }

  giveBack({ key }: Client, amount = 1): void {
    this.#used -= amount;
    this.#count(key, -amount);
  }

  #count(key: string, amount: number): void {
    const held = (this.#held.get(key) ?? 0) + amount;
    if (held === 0) this.#held.delete(key);
    else this.#held.set(key, held);
  }
}
