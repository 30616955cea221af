/** Addresses of clients and lists of them. */
import { BlockList, isIP, isIPv6 } from "node:net";

/** Groups of an IPv6 address that name a network: a client has all addresses of its /64. */
const NETWORK_GROUPS = 4;
/** Bits before the IPv4 address in ::ffff:a.b.c.d. */
const MAPPED_BITS = 96;

/** The eight groups of a valid IPv6 address. */
function groupsOf(address: string): number[] {
  // A URL has the shortest form, without a dotted end.
  const [head = "", tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const numbers = (text: string) =>
    text === "" ? [] : text.split(":").map((each) => Number.parseInt(each, 16));
  const [before, after] = [numbers(head), numbers(tail ?? "")];
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** The IPv4 address in ::ffff:a.b.c.d, as which sockets for both versions show it. */
function mapped(groups: readonly number[]): string | undefined {
  if (groups.slice(0, 5).some((group) => group !== 0) || groups[5] !== 0xffff) return undefined;
  return groups
    .slice(6)
    .flatMap((group) => [group >> 8, group & 255])
    .join(".");
}

/**
 * The one form of an address: without the interface of a link-local one, the IPv4 address of a mapped one, IPv6 in its
 * shortest form. Undefined for any other text.
 */
export function normalized(text: string): string | undefined {
  const address = text.replace(/%.*$/s, "");
  if (!isIPv6(address)) return isIP(address) === 4 ? address : undefined;
  return mapped(groupsOf(address)) ?? new URL(`http://[${address}]`).hostname.slice(1, -1);
}

/** What clients are counted by: an IPv4 address, or the /64 of an IPv6 address. The address must be normalized. */
export function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const groups = groupsOf(address).slice(0, NETWORK_GROUPS);
  return `${groups.map((group) => group.toString(16)).join(":")}::/64`;
}

/** Addresses and CIDR blocks. */
export class AddressList {
  readonly #list = new BlockList();

  /** @returns whether the text is an address or a block, and was added */
  add(text: string): boolean {
    const [, before = "", digits] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
    const address = normalized(before);
    if (address === undefined || before.includes("%")) return false;
    const type = isIPv6(address) ? "ipv6" : "ipv4";
    const most = type === "ipv6" ? 128 : 32;
    const wasMapped = type === "ipv4" && isIPv6(before);
    const bits = digits === undefined ? most : Number(digits) - (wasMapped ? MAPPED_BITS : 0);
    if (bits < 0 || bits > most) return false;
    this.#list.addSubnet(address, bits, type);
    return true;
  }

  /** The address must be normalized. */
  has(address: string): boolean {
    return this.#list.check(address, isIPv6(address) ? "ipv6" : "ipv4");
  }
}
