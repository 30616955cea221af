/** The addresses that proxies add to a request: X-Forwarded-For, and Forwarded (RFC 7239). */
import { normalized } from "./addresses.js";

/** An address with or without a port; undefined for "unknown", a name that hides it, and anything else. */
function addressIn(text: string): string | undefined {
  const [, inBrackets, plain] = /^(?:\[([^\]]*)\](?::\d{1,5})?|([^:]*)(?::\d{1,5})?)$/.exec(text) ?? [];
  return normalized(inBrackets ?? plain ?? text);
}

/** Of X-Forwarded-For, the client's first; undefined where one is unknown. */
export function forwardedFor(header: string): (string | undefined)[] {
  return header.split(",").map((each) => addressIn(each.trim()));
}

/** Quoted texts are matched as a whole: commas and semicolons in them separate nothing. */
const ELEMENTS = /(?:"(?:[^"\\]|\\.)*"|[^",])+/g;
const PAIRS = /(?:"(?:[^"\\]|\\.)*"|[^";])+/g;

/** Of Forwarded, the client's first; undefined where one is unknown. */
export function forwarded(header: string): (string | undefined)[] {
  // A quote without its end makes the whole header unreadable.
  if ((header.replace(/\\./g, "").match(/"/g)?.length ?? 0) % 2 === 1) return [undefined];
  return (header.match(ELEMENTS) ?? []).map((element) => {
    const values = (element.match(PAIRS) ?? []).flatMap((pair) => {
      const [, value] = /^\s*for\s*=\s*(.*?)\s*$/i.exec(pair) ?? [];
      return value === undefined ? [] : [value];
    });
    const [value, second] = values;
    if (value === undefined || second !== undefined) return undefined;
    const quoted = /^"(.*)"$/s.exec(value)?.[1];
    return addressIn(quoted?.replace(/\\(.)/g, "$1") ?? value);
  });
}
