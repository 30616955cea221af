/** Groups of processes that train or evaluate one model together: membership and exchange. */

import { deserialize, serialize } from "node:v8";
import * as z from "zod";
import { parse } from "../config/parse.js";
import { anObject, aText, check, having } from "../core/arguments.js";
import { type ErrorCode, isSoundspotError, SoundspotError } from "../core/errors.js";
import { type GroupHandle, native, type Traffic } from "../native.js";

/** Rank of this process, and the address where the group meets. */
export interface ProcessGroupOptions {
  /** Of this process, 0 ≤ rank < size. Rank 0 writes the files of a run. */
  readonly rank: number;
  /** Processes in all. */
  readonly size: number;
  /** Host name or address of rank 0. Default 127.0.0.1. */
  readonly address?: string;
  /** A free TCP port of rank 0, the same for all. Default 29500. */
  readonly port?: number;
  /**
   * Seconds that a process waits for the others: to join, and in each exchange. Evaluation has one exchange, at its end:
   * give more than the processes' time differs there. Default 300.
   */
  readonly timeout?: number;
  /** Network interface for sending. Default that of this machine's name, or of `address` if it is loopback. */
  readonly interface?: string;
}

const schema = z
  .strictObject({
    rank: z.int().min(0),
    size: z.int().min(1).max(4096),
    address: z.string().min(1).default("127.0.0.1"),
    port: z.int().min(1).max(65_535).default(29_500),
    timeout: z.number().positive().max(86_400).default(300),
    interface: z.string().default(""),
  })
  .refine(({ rank, size }) => rank < size, { path: ["rank"], message: "is not below size" });

/** The failure of one process, sent to the others. */
interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
}

const VARIABLES = [
  "RANK",
  "WORLD_SIZE",
  "MASTER_ADDR",
  "MASTER_PORT",
  "SLURM_PROCID",
  "SLURM_STEP_NUM_TASKS",
  "GLOO_SOCKET_IFNAME",
  "SOUNDSPOT_TIMEOUT",
];

type Environment = Readonly<Record<string, string | undefined>>;

/** Membership of a process. All processes must call every method that waits for the others, in the same order. */
export class ProcessGroup implements AsyncDisposable {
  readonly rank: number;
  readonly size: number;
  readonly #handle: GroupHandle;
  #left: Promise<void> | undefined;

  private constructor(handle: GroupHandle, { rank, size }: ProcessGroupOptions) {
    this.#handle = handle;
    this.rank = rank;
    this.size = size;
  }

  /**
   * Options from the variables of torchrun, SLURM and the Kubernetes training operators: `RANK`, `WORLD_SIZE`,
   * `MASTER_ADDR`, `MASTER_PORT`, under srun `SLURM_PROCID` and `SLURM_STEP_NUM_TASKS` for the first two; and
   * `GLOO_SOCKET_IFNAME` and `SOUNDSPOT_TIMEOUT` (seconds).
   * @returns undefined for a single process.
   * @throws {SoundspotError} ERR_CONFIG when only some are set, or one is out of range.
   */
  static fromEnvironment(env: Environment = process.env): ProcessGroupOptions | undefined {
    check(env, anObject, "The environment");
    for (const name of VARIABLES) if (env[name] !== undefined) check(env[name], aText, name, "ERR_CONFIG");
    const slurm = env.MASTER_ADDR !== undefined && env.WORLD_SIZE === undefined;
    const size = env.WORLD_SIZE ?? (slurm ? env.SLURM_STEP_NUM_TASKS : undefined);
    if (size === undefined || size === "1") return undefined;
    const rank = env.RANK ?? (slurm ? env.SLURM_PROCID : undefined);
    const wanted = { RANK: rank, MASTER_ADDR: env.MASTER_ADDR, MASTER_PORT: env.MASTER_PORT };
    const absent = Object.entries(wanted).filter(([, value]) => value === undefined);
    if (absent.length > 0) {
      const names = absent.map(([name]) => name).join(" and ");
      throw new SoundspotError(
        "ERR_CONFIG",
        `WORLD_SIZE is ${size}, but ${names} is not set. Launch them by torchrun, srun or --processes, or set ${names}.`,
      );
    }
    const own = {
      rank: Number(rank),
      size: Number(size),
      address: env.MASTER_ADDR as string,
      port: Number(env.MASTER_PORT),
      ...(env.GLOO_SOCKET_IFNAME ? { interface: env.GLOO_SOCKET_IFNAME } : {}),
      ...(env.SOUNDSPOT_TIMEOUT ? { timeout: Number(env.SOUNDSPOT_TIMEOUT) } : {}),
    };
    return parse(schema, own, "group");
  }

  /**
   * Joins the group, and waits until all its processes have.
   * @throws {SoundspotError} ERR_CONFIG; ERR_DISTRIBUTED when a process is missing after the timeout.
   */
  static async join(options: ProcessGroupOptions): Promise<ProcessGroup> {
    const own = parse(schema, options, "group");
    const { env } = process;
    const handle = await native().joinGroup({
      ...own,
      // torchrun's agent runs the store at that port, and restarts all processes when one fails.
      storeIsThere: env.TORCHELASTIC_USE_AGENT_STORE === "True",
      prefix: `soundspot/${env.TORCHELASTIC_RESTART_COUNT ?? "0"}`,
    });
    return new ProcessGroup(handle, own);
  }

  /** @internal */
  get handle(): GroupHandle {
    if (this.#left === undefined) return this.#handle;
    throw new SoundspotError("ERR_DISPOSED", "The process has left the group. Join it again.");
  }

  /** Whether this process writes files and reports progress. */
  get main(): boolean {
    return this.rank === 0;
  }

  /**
   * Values of all processes in the order of ranks: any value that can be structured-cloned.
   * @throws {SoundspotError} ERR_DISTRIBUTED when another process is lost.
   */
  async gather<T>(value: T): Promise<T[]> {
    const all = await native().gatherBytes(this.handle, serialize(value));
    return all.map((bytes) => deserialize(bytes) as T);
  }

  /**
   * Like `gather`, for the result of `work`: if it fails in one process, all throw its error, and none waits for the
   * failed process.
   */
  async gatherFrom<T>(work: () => T | Promise<T>): Promise<T[]> {
    let failure: unknown;
    const outcome: { readonly value?: T; readonly failure?: Failure } = await (async () => {
      try {
        return { value: await work() };
      } catch (error) {
        failure = error;
        const known = isSoundspotError(error);
        return {
          failure: { code: known ? error.code : "ERR_INTERNAL", message: String(Object(error).message) },
        };
      }
    })();
    const all = await this.gather(outcome).catch((error: unknown) => {
      throw failure ?? error;
    });
    if (failure !== undefined) throw failure;
    for (const [rank, { failure: other }] of all.entries()) {
      if (other) throw new SoundspotError(other.code, `In process ${rank} of ${this.size}: ${other.message}`);
    }
    return all.map(({ value }) => value as T);
  }

  /** Data exchanged by this process since it joined. */
  traffic(): Traffic {
    return native().groupTraffic(this.handle);
  }

  /**
   * Leaves the group. Connections close when the trainers of this membership are released too, at the latest with the
   * process; exchanges that other processes wait for then fail. Further use throws ERR_DISPOSED.
   */
  leave(): Promise<void> {
    this.#left ??= native().leaveGroup(this.#handle);
    return this.#left;
  }

  /** `leave`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.leave();
  }
}

/** @throws {SoundspotError} ERR_CONFIG when the processes of a group do not share the same work. */
export function checkSameWork(
  parts: readonly { readonly total: number; readonly batchSize: number }[],
): void {
  const [first] = parts;
  for (const [rank, { total, batchSize }] of parts.entries()) {
    if (total === first?.total && batchSize === first.batchSize) continue;
    throw new SoundspotError(
      "ERR_CONFIG",
      `The processes of a group need the same data, but process 0 has ${first?.total} samples in batches of ${first?.batchSize} and process ${rank} has ${total} in batches of ${batchSize}. Are files missing on one of the machines?`,
    );
  }
}

/**
 * The samples of `total` that a process of a group works on, all of them without a group. Shares are whole batches,
 * equal to those of a single process: results are equal to the last bit.
 */
export function shareOf(
  total: number,
  batchSize: number,
  group: ProcessGroup | undefined,
): readonly [from: number, until: number] {
  if (!group) return [0, total];
  const { rank, size } = group;
  const batches = Math.ceil(total / batchSize);
  const end = (ranks: number) => Math.min(total, batchSize * Math.floor((batches * ranks) / size));
  return [end(rank), end(rank + 1)];
}

/** @internal Checked by its methods, not its class: the ESM and CommonJS builds have one class each. */
export const aGroup = having("a ProcessGroup", "gather", "gatherFrom");
