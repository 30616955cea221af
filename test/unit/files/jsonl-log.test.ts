/** The log of JSON lines that every list of this package grows in. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { JsonlLog, readJsonLines } from "../../../src/files/jsonl-log.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-jsonl-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const isNumber = (value: unknown): value is number => typeof value === "number";
let files = 0;
const fresh = () => join(folder, `${files++}.jsonl`);

describe("a log of JSON lines", () => {
  it("writes lines in the order in which they were added, whoever flushes", async () => {
    const path = fresh();
    const log = new JsonlLog(path);
    log.add(0);
    await Promise.all([log.append([1, 2]), log.flush(), log.append([3])]);
    log.add(4);
    expect(await readJsonLines(path, isNumber)).toEqual([0, 1, 2, 3]);
    await log.flush();
    expect(readFileSync(path, "utf8")).toBe("0\n1\n2\n3\n4\n");
  });

  it("keeps what cannot be written for the next flush, once, and names the file as it was given", async () => {
    const path = join(folder, "missing", "log.jsonl");
    const log = new JsonlLog(path, { name: "the track" });
    await expect(log.append([1])).rejects.toMatchObject({
      code: "ERR_FILE_WRITE",
      message: expect.stringContaining("the track cannot be written"),
    });
    log.add(2);
    mkdirSync(join(folder, "missing"));
    await log.flush();
    expect(readFileSync(path, "utf8")).toBe("1\n2\n");
  });

  it("cuts back to the entries that are wanted, without torn lines, and goes on behind them", async () => {
    const path = fresh();
    writeFileSync(path, '1\n2\n3\n{"torn');
    const log = new JsonlLog(path);
    expect(await log.cutTo<number>((entry) => entry < 3)).toEqual([1, 2]);
    await log.append([9]);
    expect(readFileSync(path, "utf8")).toBe("1\n2\n9\n");
  });

  it("leaves no file without lines where that is asked for", async () => {
    const path = fresh();
    writeFileSync(path, "1\n");
    const log = new JsonlLog(path, { always: false });
    await log.cutTo(() => false);
    expect(() => readFileSync(path)).toThrow("ENOENT");
    await log.append([1]);
    expect(readFileSync(path, "utf8")).toBe("1\n");
  });
});
