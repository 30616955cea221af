/** Four machines whose network loses packets, and one that dies: the run is resumed, and ends as an undisturbed one. */
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { cli, parametersOf, smallTraining, stepsOf, trainedHere } from "../support/cluster.js";
import { TestNetwork } from "../support/network.js";

const obstacle = TestNetwork.obstacle();
if (obstacle) console.warn(`test/slow/packet-loss.test.ts is skipped: ${obstacle}`);

const folder = obstacle ? "" : mkdtempSync(join(tmpdir(), "soundspot-loss-"));
afterAll(() => obstacle || rmSync(folder, { recursive: true, force: true }));
const [EPOCHS, MACHINES, LOSS] = [5, 4, 0.03];
const PORT = 29_500;

interface Ended {
  readonly code: number | null;
  readonly errors: string;
}

describe.skipIf(obstacle)("a network that loses packets", () => {
  it("finishes by resuming after a process was killed, with the parameters of an undisturbed run", async () => {
    const expected = await trainedHere(folder, MACHINES, EPOCHS);
    const output = join(folder, "disturbed");
    const network = new TestNetwork(MACHINES);
    try {
      const by = network.lose(LOSS);
      const start = (): { children: ChildProcess[]; ends: Promise<Ended[]> } => {
        const args = [cli, "train", ...smallTraining(folder, EPOCHS), "--output", output, "--resume"];
        const children = network.names.map((name, rank) =>
          network.spawn(name, process.execPath, args, {
            stdio: ["ignore", "ignore", "pipe"],
            env: {
              ...process.env,
              ...{ OMP_NUM_THREADS: "1", RANK: String(rank), WORLD_SIZE: String(MACHINES) },
              ...{ MASTER_ADDR: "node1", MASTER_PORT: String(PORT), SOUNDSPOT_TIMEOUT: "60" },
            },
          }),
        );
        const ends = children.map(async (child): Promise<Ended> => {
          let errors = "";
          child.stderr?.setEncoding("utf8").on("data", (part: string) => {
            errors += part;
          });
          return new Promise((done) => child.on("close", (code) => done({ code, errors })));
        });
        return { children, ends: Promise.all(ends) };
      };

      const first = start();
      let over = false;
      void first.ends.then(() => {
        over = true;
      });
      // In the third epoch of 12 steps.
      while (!over && stepsOf(output) < 27) await delay(50);
      first.children[2]?.kill("SIGKILL");
      const ended = await first.ends;
      for (const [rank, { code, errors }] of ended.entries()) {
        expect(code, errors).not.toBe(0);
        if (rank !== 2) expect(errors).toContain("lost the others");
      }
      const before = stepsOf(output);
      expect(before).toBeLessThan(12 * EPOCHS);

      const second = await start().ends;
      for (const { code, errors } of second) expect(code, errors).toBe(0);
      // A network without names of its addresses is no reason for a warning.
      for (const { errors } of [...ended, ...second]) expect(errors).not.toMatch(/hostname|socket\.cpp/);
      expect(stepsOf(output)).toBe(12 * EPOCHS);
      expect(await parametersOf(output)).toEqual(expected);
      const lost = by === "iptables" ? `, ${network.lost()} packets lost` : "";
      console.log(`${MACHINES} machines, ${100 * LOSS} % loss by ${by}${lost}; killed after ${before} steps`);
      if (by === "iptables") expect(network.lost()).toBeGreaterThan(0);
    } finally {
      network.dispose();
    }
  }, 600_000);
});
