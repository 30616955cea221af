/** Identity of a model: vectors of two models cannot be compared. */

import { createHash } from "node:crypto";
import { earlierForm, withoutAdded } from "../config/earlier.js";
import { Pacer } from "../core/pacer.js";
import type { Model } from "../model/model.js";

type Identities = WeakMap<Model, Promise<string>>;
const known: Identities = new WeakMap();
const knownEarlier: Identities = new WeakMap();

/** SHA-256 of configuration and weights, in hexadecimal. Computed once per model; `again` computes it anew. */
export function identityOf(model: Model, again = false): Promise<string> {
  const config = withoutAdded(model.config as unknown as Record<string, unknown>);
  return remembered(known, model, again, () => computed(model, config));
}

/** The identity in earlier versions, whose configuration had no section for methods; for indexes that they wrote. */
export function earlierIdentityOf(model: Model, again = false): Promise<string> {
  const config = earlierForm(model.config as unknown as Record<string, unknown>);
  return remembered(knownEarlier, model, again, () => computed(model, config));
}

function remembered(
  identities: Identities,
  model: Model,
  again: boolean,
  compute: () => Promise<string>,
): Promise<string> {
  let identity = again ? undefined : identities.get(model);
  if (!identity) {
    identity = compute();
    identities.set(model, identity);
    identity.catch(() => identities.delete(model));
  }
  return identity;
}

async function computed(model: Model, config: unknown): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify(inOrder(config)));
  const parameters = await model.parameters();
  const pacer = new Pacer(undefined);
  for (const { name, shape, data } of parameters.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    hash.update(JSON.stringify([name, shape]));
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    if (pacer.due) await pacer.rest();
  }
  return hash.digest("hex");
}

/** The same with sorted fields: a stored configuration has them in another order. */
function inOrder(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(fields.map(([name, field]) => [name, inOrder(field)]));
}
