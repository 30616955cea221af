/** What tells a dataset from another one of the same name. */
import { createHash } from "node:crypto";
import { paced } from "../core/pacer.js";
import type { Dataset } from "./dataset.js";

/** SHA-256 of the ids in their order, in hexadecimal; of a dataset that does not know its ids that of no ids. */
export async function hashOfIds(data: Dataset, signal?: AbortSignal | undefined): Promise<string> {
  const hash = createHash("sha256");
  const indices = function* () {
    for (let i = 0; data.idOf && i < data.length; i++) yield i;
  };
  await paced(indices(), signal, (i) => hash.update(JSON.stringify(data.idOf?.(i) ?? null)));
  return hash.digest("hex");
}
