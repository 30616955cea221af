/** Who sent a request: addresses in all their forms, and what proxies report. */
import type { IncomingMessage } from "node:http";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AddressList, networkOf, normalized } from "../../../src/server/addresses.js";
import { type Client, Clients, type TrustProxy } from "../../../src/server/clients.js";
import { forwarded, forwardedFor } from "../../../src/server/forwarded.js";

function clientOf(
  trust: TrustProxy | undefined,
  remoteAddress: string | undefined,
  headers: Readonly<Record<string, string>> = {},
): Client {
  return new Clients(trust).of({ socket: { remoteAddress }, headers } as unknown as IncomingMessage);
}

const ipv4 = fc.tuple(...Array.from({ length: 4 }, () => fc.nat(255))).map((bytes) => bytes.join("."));
const groups = fc.tuple(...Array.from({ length: 8 }, () => fc.nat(0xffff)));
const text = (numbers: readonly number[]) => numbers.map((each) => each.toString(16)).join(":");
/** Not within ::ffff:0:0/96. */
const ipv6 = groups.filter(([, , , , , sixth]) => sixth !== 0xffff).map(text);
/** Addresses of clients: none is in 127.0.0.0/8 or 10.0.0.0/8. */
const outside = fc.oneof(
  ipv4.filter((address) => !/^(127|10)\./.test(address)),
  ipv6.map((address) => `2001:${address.slice(address.indexOf(":") + 1)}`),
);

describe("addresses", () => {
  it("have one form, however they are written", () => {
    fc.assert(
      fc.property(groups, (numbers) => {
        const long = numbers.map((each) => each.toString(16).padStart(4, "0").toUpperCase()).join(":");
        const short = normalized(text(numbers));
        expect(normalized(long)).toBe(short);
        expect(normalized(`${long}%eth0`)).toBe(short);
        expect(normalized(short as string)).toBe(short);
      }),
    );
    fc.assert(
      fc.property(ipv4, (address) => {
        expect(normalized(address)).toBe(address);
        expect(normalized(`::ffff:${address}`)).toBe(address);
        expect(normalized(`0:0:0:0:0:FFFF:${address}`)).toBe(address);
        expect(networkOf(address)).toBe(address);
      }),
    );
    for (const wrong of ["", "1.2.3", "1.2.3.4.5", "01.2.3.4", "localhost", "1::2::3", "[::1]", "::1/64"]) {
      expect([wrong, normalized(wrong)]).toEqual([wrong, undefined]);
    }
  });

  it("of IPv6 are counted by their /64", () => {
    fc.assert(
      fc.property(groups, groups, fc.nat(3), fc.nat(15), (one, other, group, bit) => {
        const network = one.slice(0, 4);
        const [here, there] = [
          text([...network, ...one.slice(4)]),
          text([...network, ...other.slice(4)]),
        ].map((each) => normalized(each) as string) as [string, string];
        fc.pre(here.includes(":") && there.includes(":"));
        expect(networkOf(here)).toBe(networkOf(there));
        const next = network.map((each, i) => (i === group ? each ^ (1 << bit) : each));
        expect(networkOf(normalized(text([...next, ...one.slice(4)])) as string)).not.toBe(networkOf(here));
      }),
    );
    expect(networkOf("2001:db8::1")).toBe("2001:db8:0:0::/64");
  });

  it("are in the blocks that have their first bits", () => {
    fc.assert(
      fc.property(ipv4, ipv4, fc.nat(32), (address, other, bits) => {
        const list = new AddressList();
        expect(list.add(`${address}/${bits}`)).toBe(true);
        const number = (each: string) => each.split(".").reduce((sum, byte) => sum * 256 + Number(byte), 0);
        const same =
          Math.floor(number(address) / 2 ** (32 - bits)) === Math.floor(number(other) / 2 ** (32 - bits));
        expect([list.has(address), list.has(other)]).toEqual([true, same]);
        const asMapped = new AddressList();
        expect(asMapped.add(`::ffff:${address}/${bits + 96}`)).toBe(true);
        expect(asMapped.has(other)).toBe(same);
      }),
    );
    const list = new AddressList();
    for (const wrong of [
      "",
      "/8",
      "10.0.0.0/33",
      "fd00::/129",
      "10.0.0.0/",
      "10.0.0.0/8/8",
      "a/8",
      "10/8",
      "fe80::1%a",
    ])
      expect([wrong, list.add(wrong)]).toEqual([wrong, false]);
  });
});

describe("headers of proxies", () => {
  it("have addresses with and without ports, and others that are unknown", () => {
    expect(forwardedFor("203.0.113.7, [2001:db8::1]:4711 ,2001:DB8::2,198.51.100.1:80, unknown,")).toEqual([
      "203.0.113.7",
      "2001:db8::1",
      "2001:db8::2",
      "198.51.100.1",
      undefined,
      undefined,
    ]);
    expect(
      forwarded(
        'for=192.0.2.43;proto=http;by=203.0.113.43, For="[2001:db8:cafe::17]:4711", for="192.0.2.1:80",proto=https, for=unknown, for="_a,b;for=1.2.3.4"',
      ),
    ).toEqual(["192.0.2.43", "2001:db8:cafe::17", "192.0.2.1", undefined, undefined, undefined]);
    expect(forwarded('for="1.2.3.4')).toEqual([undefined]);
    expect(forwarded("for=1.2.3.4;for=5.6.7.8")).toEqual([undefined]);
  });

  it("of any text make no error and nothing but addresses", () => {
    const pieces = fc.constantFrom(
      "for=",
      '"',
      "\\",
      ",",
      ";",
      "1.2.3.4",
      "[::1]",
      ":80",
      " ",
      "%",
      "_x",
      "unknown",
      "=",
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(pieces).map((all) => all.join("")),
        ),
        (header) => {
          for (const each of [...forwardedFor(header), ...forwarded(header)]) {
            expect(each === undefined || normalized(each) === each).toBe(true);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("a client", () => {
  it("is whoever connects, whatever it claims", () => {
    fc.assert(
      fc.property(outside, outside, (remote, claimed) => {
        const headers = { "x-forwarded-for": claimed, forwarded: `for="[${claimed}]"` };
        for (const trust of [undefined, false, 0, [], ["10.0.0.0/8"]] as const) {
          const client = clientOf(trust, remote, headers);
          expect([client.address, client.limited]).toEqual([normalized(remote), true]);
        }
      }),
    );
  });

  it("is the nearest address before trusted proxies, whatever it writes before that", () => {
    const chain = fc.array(ipv4, { maxLength: 4 });
    const proxies = fc.array(
      ipv4.map((address) => address.replace(/^\d+/, "10")),
      { maxLength: 3 },
    );
    fc.assert(
      fc.property(chain, outside, proxies, (forged, address, between) => {
        const list = [...forged, address, ...between];
        const byName = { "x-forwarded-for": list.join(", ") };
        const byStandard = {
          forwarded: list
            .map((each) => `for="${each.includes(":") ? `[${each}]` : each}";proto=https`)
            .join(","),
        };
        for (const headers of [byName, byStandard, { ...byName, ...byStandard }]) {
          for (const trust of [["10.0.0.0/8"], between.length + 1] as const) {
            const client = clientOf(trust, "10.9.9.9", headers);
            expect([client.address, client.limited]).toEqual([normalized(address), true]);
            expect(client.key).toBe(networkOf(client.address));
          }
        }
      }),
    );
  });

  it("is the proxy where the headers disagree, or do not name an address", () => {
    const both = { "x-forwarded-for": "203.0.113.7", forwarded: "for=198.51.100.1" };
    expect(clientOf(1, "127.0.0.1", both)).toEqual({ key: "127.0.0.1", address: "127.0.0.1", limited: true });
    for (const header of ["unknown", "", "203.0.113.7, _hidden", "a.b.c.d"]) {
      expect(clientOf(["127.0.0.1"], "127.0.0.1", { "x-forwarded-for": header })).toMatchObject({
        address: "127.0.0.1",
        limited: true,
      });
    }
    expect(clientOf(["10.0.0.1"], "10.0.0.1", { "x-forwarded-for": "unknown, 203.0.113.7" }).address).toBe(
      "203.0.113.7",
    );
  });

  it("of this computer has no limit, unless a proxy speaks for it", () => {
    for (const address of ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", undefined]) {
      expect(clientOf(undefined, address).limited).toBe(false);
      expect(clientOf(["127.0.0.0/8", "::1"], address).limited).toBe(false);
    }
    expect(clientOf(undefined, "127.0.0.1", { "x-forwarded-for": "203.0.113.7" })).toMatchObject({
      address: "127.0.0.1",
      limited: false,
    });
    expect(clientOf(1, "::1", { "x-forwarded-for": "127.0.0.1" })).toMatchObject({
      address: "127.0.0.1",
      limited: true,
    });
    for (const address of ["::2", "128.0.0.1", "::ffff:126.0.0.1"])
      expect(clientOf(1, address).limited).toBe(true);
  });

  it("is the same after its connection has ended", () => {
    const clients = new Clients(false);
    const socket: { remoteAddress?: string } = { remoteAddress: "203.0.113.7" };
    const request = { socket, headers: {} } as unknown as IncomingMessage;
    expect(clients.of(request).address).toBe("203.0.113.7");
    delete socket.remoteAddress;
    expect(clients.of(request).address).toBe("203.0.113.7");
  });
});

describe("trustProxy", () => {
  it.each<[unknown, RegExp]>([
    [
      true,
      /^trustProxy must be false, a number of proxies from 1 to 100, or a list of their addresses; it was true/,
    ],
    [-1, /it was -1/],
    [1.5, /it was 1.5/],
    [101, /it was 101/],
    ["10.0.0.1", /it was 10.0.0.1/],
    [["10.0.0.1", "nginx"], /^trustProxy must have addresses such as 10.0.0.1, .*; one was nginx/],
    [["10.0.0.0/40"], /one was 10.0.0.0\/40/],
    [[7], /one was 7/],
  ])("rejects %j", (trust, message) => {
    expect(() => new Clients(trust as TrustProxy)).toThrow(
      expect.objectContaining({ code: "ERR_INPUT", message: expect.stringMatching(message) }),
    );
  });
});
