/** Machines for tests: network namespaces of this one, joined by a bridge. On Linux, as root, with iproute2. */
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bound } from "./ends-with-tests.js";

function command(name: string, ...args: readonly string[]): string {
  return execFileSync(name, args, { stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });
}

/** The first line of what a command that failed says. */
function reasonOf(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message: string };
  return (stderr || message).trim().split("\n")[0] as string;
}

export class TestNetwork {
  static #made = 0;
  /** Names of the machines, node1 and so on, which each of them resolves. */
  readonly names: readonly string[];
  readonly #folder = mkdtempSync(join(tmpdir(), "soundspot-network-"));
  readonly #subnet = `10.214.${process.pid % 250}`;
  /** The system deletes the links of a network some time after its machines: the next one has other names. */
  readonly #tag = `ss${process.pid % 100_000}x${TestNetwork.#made++}`;

  /** Why there can be no network of this kind here; undefined where there can. */
  static obstacle(): string | undefined {
    if (process.platform !== "linux" || process.getuid?.() !== 0) return "it needs Linux, and root";
    try {
      for (const tool of ["nsenter", "unshare"]) command(tool, "--version");
      new TestNetwork(1).dispose();
    } catch (error) {
      return reasonOf(error);
    }
    return undefined;
  }

  constructor(machines: number) {
    this.names = Array.from({ length: machines }, (_, i) => `node${i + 1}`);
    const hosts = ["127.0.0.1 localhost", `${this.addressOf("head")} head`];
    writeFileSync(
      join(this.#folder, "hosts"),
      [...hosts, ...this.names.map((name) => `${this.addressOf(name)} ${name}`), ""].join("\n"),
    );
    try {
      command("ip", "link", "add", this.#bridge, "type", "bridge");
      command("ip", "address", "add", `${this.addressOf("head")}/24`, "dev", this.#bridge);
      command("ip", "link", "set", this.#bridge, "up");
      for (const [i, name] of this.names.entries()) {
        const [space, link] = [this.#space(name), `${this.#tag}v${i}`];
        command("ip", "netns", "add", space);
        command("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space);
        command("ip", "link", "set", link, "master", this.#bridge, "up");
        command("ip", "-n", space, "address", "add", `${this.addressOf(name)}/24`, "dev", "eth0");
        for (const device of ["lo", "eth0"]) command("ip", "-n", space, "link", "set", device, "up");
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  get #bridge(): string {
    return `${this.#tag}b`;
  }

  #space(name: string): string {
    return `${this.#tag}${name}`;
  }

  /** Of a machine, or of "head", which is this one. */
  addressOf(name: string): string {
    return `${this.#subnet}.${name === "head" ? 254 : this.names.indexOf(name) + 1}`;
  }

  /** Starts a program on a machine, which has its host name and the names of the others. */
  spawn(name: string, program: string, args: readonly string[], options: SpawnOptions): ChildProcess {
    const setup = `mount --bind "$1" /etc/hosts && hostname "$2" && shift 2 && exec "$@"`;
    const inside = ["sh", "-c", setup, "sh", join(this.#folder, "hosts"), name, program, ...args];
    const entered = [`--net=/run/netns/${this.#space(name)}`, "unshare", "--uts", "--mount", ...inside];
    return spawn(...bound("nsenter", entered), options);
  }

  /**
   * From now on each machine loses that share of the packets that reach it.
   * @returns what loses them
   * @throws where the kernel has neither netem nor iptables' statistic match.
   */
  lose(share: number): string {
    const all = (...args: readonly string[]) => {
      for (const name of this.names) command("ip", "netns", "exec", this.#space(name), ...args);
    };
    try {
      all("tc", "qdisc", "add", "dev", "eth0", "root", "netem", "loss", `${100 * share}%`);
      return "netem";
    } catch {
      const match = ["-m", "statistic", "--mode", "random", "--probability", String(share)];
      all("iptables", "-A", "INPUT", "-i", "eth0", ...match, "-j", "DROP");
      return "iptables";
    }
  }

  /** Packets that the machines have lost, by iptables' counters. */
  lost(): number {
    return this.names.reduce((sum, name) => {
      const rules = command("ip", "netns", "exec", this.#space(name), "iptables", "-nvxL", "INPUT");
      return sum + Number(/^\s*(\d+)\s+\d+\s+DROP/m.exec(rules)?.[1] ?? 0);
    }, 0);
  }

  /** Resets every TCP connection of a machine, at both ends, and lets none through until it is mended. */
  cut(name: string): void {
    this.#resets(name, "-I");
  }

  mend(name: string): void {
    this.#resets(name, "-D");
  }

  #resets(name: string, change: "-I" | "-D"): void {
    for (const [chain, side] of [
      ["INPUT", "-i"],
      ["OUTPUT", "-o"],
    ] as const) {
      const match = [chain, side, "eth0", "-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"];
      command("ip", "netns", "exec", this.#space(name), "iptables", change, ...match);
    }
  }

  dispose(): void {
    const gone = (...args: readonly string[]) => {
      try {
        command("ip", ...args);
      } catch {
        // It was not made.
      }
    };
    for (const name of this.names) gone("netns", "delete", this.#space(name));
    gone("link", "delete", this.#bridge);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
