/** The description file of an index: its model, its folder, and the partitions of its tables. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { SoundspotError } from "../core/errors.js";
import { replaceFile } from "../files/atomic-writes.js";

export const DESCRIPTION = "index.json";

const schema = z.object({
  format: z.literal("soundspot-search"),
  version: z.literal(1),
  /** SHA-256 of the model's configuration and weights. */
  model: z.string().regex(/^[0-9a-f]{64}$/),
  /** Components of a vector. */
  dimensions: z.int().positive(),
  /** The folder that was indexed, absolute; absent before the first update. */
  media: z.string().optional(),
  /** Rows of each table when it was divided into partitions; absent where it is not. */
  divided: z.object({ image: z.int().optional(), audio: z.int().optional() }),
});

export type Description = z.infer<typeof schema>;

/** @throws {SoundspotError} ERR_FILE_NOT_FOUND when the folder has no index, ERR_INDEX_CORRUPT. */
export async function readDescription(folder: string): Promise<Description> {
  const path = join(folder, DESCRIPTION);
  const text = await readFile(path, "utf8").catch((cause: Error) => {
    throw new SoundspotError(
      "ERR_FILE_NOT_FOUND",
      `${folder} has no search index. Make one with \`soundspot index\`. (${cause.message})`,
      { cause },
    );
  });
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new SoundspotError(
      "ERR_INDEX_CORRUPT",
      `${path} is damaged, or of another version of soundspot. Delete ${folder} and make the index again.`,
      { cause },
    );
  }
}

/** @throws {SoundspotError} ERR_FILE_WRITE. */
export async function writeDescription(folder: string, description: Description): Promise<void> {
  await replaceFile(join(folder, DESCRIPTION), `${JSON.stringify(description, null, 2)}\n`, folder);
}
