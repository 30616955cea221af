/** Four machines whose network loses packets. One dies, later one is cut off: the run is resumed, and ends as an undisturbed one. */
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
  it("finishes by resuming after a process was killed and connections were reset, with the parameters of an undisturbed run", async () => {
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

      /** Starts all, disturbs them once that many steps were taken, and waits until all have ended. */
      const disturbed = async (steps: number, disturb: (children: ChildProcess[]) => void) => {
        const { children, ends } = start();
        let over = false;
        void ends.then(() => {
          over = true;
        });
        while (!over && stepsOf(output) < steps) await delay(50);
        disturb(children);
        return ends;
      };
      // In the third epoch of 12 steps.
      const ended = await disturbed(27, (children) => children[2]?.kill("SIGKILL"));
      for (const [rank, { code, errors }] of ended.entries()) {
        expect(code, errors).not.toBe(0);
        if (rank !== 2) expect(errors).toContain("lost the others");
      }
      const before = stepsOf(output);
      expect(before).toBeLessThan(12 * EPOCHS);

      // In the fourth. No process was killed: each loses a connection, and says so.
      const alone = network.names[3] as string;
      const cut = await disturbed(41, () => network.cut(alone));
      for (const { code, errors } of cut) {
        expect(code, errors).toBe(1);
        expect(errors).toContain("lost the others");
      }
      const beforeCut = stepsOf(output);
      expect(beforeCut).toBeGreaterThan(36);
      expect(beforeCut).toBeLessThan(12 * EPOCHS);
      network.mend(alone);

      const last = await start().ends;
      for (const { code, errors } of last) expect(code, errors).toBe(0);
      // A network without names of its addresses is no reason for a warning.
      for (const { errors } of [...ended, ...cut, ...last])
        expect(errors).not.toMatch(/hostname|socket\.cpp/);
      expect(stepsOf(output)).toBe(12 * EPOCHS);
      expect(await parametersOf(output)).toEqual(expected);
      const lost = by === "iptables" ? `, ${network.lost()} packets lost` : "";
      console.log(
        `${MACHINES} machines, ${100 * LOSS} % loss by ${by}${lost}; killed after ${before} steps, cut off after ${beforeCut}`,
      );
      if (by === "iptables") expect(network.lost()).toBeGreaterThan(0);
    } finally {
      network.dispose();
    }
  }, 600_000);

  it("does not hide that a machine's own name is not known, and what to set", async () => {
    const network = new TestNetwork(1);
    try {
      const [node] = network.names as [string];
      const text = `hostname nowhere.invalid && exec "$@"`;
      const args = [cli, "train", ...smallTraining(folder, 1), "--output", join(folder, "nameless")];
      const ends = [0, 1].map(async (rank) => {
        const child = network.spawn(node, "sh", ["-c", text, "sh", process.execPath, ...args], {
          stdio: ["ignore", "ignore", "pipe"],
          env: {
            ...process.env,
            ...{ OMP_NUM_THREADS: "1", RANK: String(rank), WORLD_SIZE: "2" },
            ...{ MASTER_ADDR: node, MASTER_PORT: String(PORT), SOUNDSPOT_TIMEOUT: "60" },
          },
        });
        let errors = "";
        child.stderr?.setEncoding("utf8").on("data", (part: string) => {
          errors += part;
        });
        const code = await new Promise<number | null>((done) => child.on("close", done));
        return { code, errors };
      });
      for (const { code, errors } of await Promise.all(ends)) {
        expect(code, errors).toBe(0);
        expect(errors).toMatch(/Unable to resolve hostname.*GLOO_SOCKET_IFNAME/);
        expect(errors).not.toMatch(/socket\.cpp/);
      }
    } finally {
      network.dispose();
    }
  });
});
