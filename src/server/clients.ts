/** Who sent a request: the connection's address, or the one that trusted proxies report. */
import type { IncomingMessage } from "node:http";
import { shown } from "../core/arguments.js";
import { SoundspotError } from "../core/errors.js";
import { AddressList, networkOf, normalized } from "./addresses.js";
import { forwarded, forwardedFor } from "./forwarded.js";

/** Proxies whose X-Forwarded-For and Forwarded are believed: their number before the service, or their addresses. */
export type TrustProxy = false | number | readonly string[];

/** A client of the service. */
export interface Client {
  /** What it is counted by: an IPv4 address, or the /64 of an IPv6 address. */
  readonly key: string;
  /** In its shortest form; empty for a socket without one. */
  readonly address: string;
  /** Programs of this computer have no share that they may not exceed. */
  readonly limited: boolean;
}

/** A program of this computer. */
export const LOCAL: Client = { key: "", address: "", limited: false };

const loopback = new AddressList();
for (const block of ["127.0.0.0/8", "::1"]) loopback.add(block);

/** Longest chain of proxies. */
const MOST_HOPS = 100;

/** Whether the proxy at an address, `hops` before the service, is believed. */
type Trusted = (address: string, hops: number) => boolean;

/** @throws {SoundspotError} ERR_INPUT */
function trustedBy(trust: unknown): Trusted | undefined {
  if (trust === undefined || trust === false || trust === 0) return undefined;
  if (typeof trust === "number" && Number.isInteger(trust) && trust > 0 && trust <= MOST_HOPS) {
    return (_address, hops) => hops < trust;
  }
  if (Array.isArray(trust)) {
    const list = new AddressList();
    for (const each of trust) {
      if (typeof each !== "string" || !list.add(each)) {
        throw new SoundspotError(
          "ERR_INPUT",
          `trustProxy must have addresses such as 10.0.0.1, or blocks such as 10.0.0.0/8 and fd00::/8; one was ${shown(each)}.`,
        );
      }
    }
    return (address) => address !== "" && list.has(address);
  }
  throw new SoundspotError(
    "ERR_INPUT",
    `trustProxy must be false, a number of proxies from 1 to ${MOST_HOPS}, or a list of their addresses; it was ${shown(trust)}.`,
  );
}

export class Clients {
  readonly #trusted: Trusted | undefined;
  readonly #known = new WeakMap<IncomingMessage, Client>();

  /** @throws {SoundspotError} ERR_INPUT */
  constructor(trust: TrustProxy | undefined) {
    this.#trusted = trustedBy(trust);
  }

  /** Whether a request has been through a proxy that the service does not believe, whoever it is. */
  ignores({ headers }: IncomingMessage): boolean {
    return this.#trusted === undefined && (headers["x-forwarded-for"] ?? headers.forwarded) !== undefined;
  }

  /** The same for a request at any time: its connection may be closed later. */
  of(request: IncomingMessage): Client {
    const known = this.#known.get(request);
    if (known) return known;
    const client = this.#find(request.socket.remoteAddress ?? "", request.headers);
    this.#known.set(request, client);
    return client;
  }

  #find(remote: string, headers: IncomingMessage["headers"]): Client {
    const connected = normalized(remote) ?? "";
    const trusted = this.#trusted;
    const lists = trusted?.(connected, 0) ? reported(headers) : [];
    if (!trusted || lists.length === 0) {
      const local = connected === "" || loopback.has(connected);
      return clientAt(connected, !local);
    }
    const [first, ...others] = lists.map((list) => nearest(connected, list, trusted)) as [string];
    // A proxy that sets one header passes the other on as the client has sent it: neither is believed then.
    return clientAt(others.every((other) => other === first) ? first : connected, true);
  }
}

function clientAt(address: string, limited: boolean): Client {
  return { key: networkOf(address), address, limited };
}

function reported(headers: IncomingMessage["headers"]): (string | undefined)[][] {
  const [byName, byStandard] = [headers["x-forwarded-for"], headers.forwarded];
  return [
    ...(byName === undefined ? [] : [forwardedFor([byName].flat().join(","))]),
    ...(byStandard === undefined ? [] : [forwarded(byStandard)]),
  ];
}

/** The nearest address that is not a trusted proxy's: what is before it anyone may have written. */
function nearest(connected: string, list: readonly (string | undefined)[], trusted: Trusted): string {
  let address = connected;
  for (let hops = 0; hops < list.length && trusted(address, hops); hops++) {
    const before = list[list.length - 1 - hops];
    if (before === undefined) break;
    address = before;
  }
  return address;
}
