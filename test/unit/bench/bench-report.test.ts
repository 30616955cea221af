/** A bench says how long it will take and prints each row once it is measured; figures stand beside the processor. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

interface Report {
  expect(seconds: number, rows: number): void;
  table(title: string, columns: string[], widths?: number[]): void;
  row(cells: unknown[]): void;
  compare(title: string, columns: { ours: string[]; rates?: boolean }, widths?: number[]): void;
  result(result: { work: string; name: string; ms: number; rate?: number }): void;
  step(title: string, total?: number): (done: number, of?: number) => void;
  end(): void;
}
interface Competitor {
  name: string;
  run(times: number): Promise<number[]>;
}

const load = (name: string): Promise<unknown> => import(`../../../bench/lib/${name}.mjs`);
const { Report, duration } = (await load("report")) as {
  Report: new (options: { out: object; stream: object }) => Report;
  duration(seconds: number): string;
};
const { inTurns, turnsSeconds } = (await load("turns")) as {
  inTurns(competitors: Competitor[], options: object): Promise<Map<string, { median: number }>>;
  turnsSeconds(ms: number, options: { rounds: number; times: number; competitors: number }): number;
};

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubEnv("SOUNDSPOT_PROGRESS", "");
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
});

/** A report, and all that it writes, in order; progress begins with "…". */
function reporting() {
  const written: string[] = [];
  const to = (mark: string) => ({ write: (text: string) => written.push(mark + text.trimEnd()) });
  return { written, report: new Report({ out: to(""), stream: to("…") }) };
}

describe("a bench", () => {
  it("says what it will take before, prints a row when it is measured, and its progress between", () => {
    const { written, report } = reporting();
    vi.advanceTimersByTime(10_000);
    report.expect(100, 2);
    report.table("reading", ["from", "pairs/s"], [8, 3]);
    const progress = report.step("reading", 4);
    progress(1);
    vi.advanceTimersByTime(10_000);
    progress(2);
    report.row(["shards", 12.5]);
    vi.advanceTimersByTime(10_000);
    report.row(["a long name of files", 7]);
    vi.advanceTimersByTime(90_000);
    report.end();
    vi.advanceTimersByTime(60_000);
    expect(written.slice(0, 7)).toEqual([
      "…calibrating, 0:10",
      "about 2 min; 2 rows",
      "\nreading\n\n| from     | pairs/s |\n|----------|--------:|",
      "…reading [1/4], 25 %, 0:10, in all about 1:30 left",
      "| shards   |    12.5 |",
      "…reading [2/4], 50 %, 0:20, about 0:40 left, in all about 1:20 left",
      "| a long name of files |       7 |",
    ]);
    expect(written.slice(7)).toHaveLength(9);
    expect(written.at(-1)).toContain("longer than expected");
  });

  it("compares each competitor with ours of the same work", () => {
    const { written, report } = reporting();
    report.compare("localize, ms", { ours: ["soundspot"], rates: true }, [7, 9]);
    report.result({ work: "batch 1", name: "soundspot", ms: 2, rate: 100 });
    report.result({ work: "batch 1", name: "other", ms: 30, rate: 7.6 });
    report.result({ work: "batch 2", name: "other", ms: 30, rate: 7.6 });
    report.end();
    expect(written.slice(1)).toEqual([
      "| batch 1 | soundspot |       2.00 |        100 |        1.00 |",
      "| batch 1 |     other |       30.0 |          8 |       15.00 |",
      "| batch 2 |     other |       30.0 |          8 |             |",
    ]);
  });

  it("hands over a competitor's median after its last turn, before the next one's", async () => {
    const events: string[] = [];
    const competitor = (name: string, ms: number): Competitor => ({
      name,
      run: async (times) => {
        events.push(`run ${name}`);
        return Array.from({ length: times }, (_, i) => (i === 0 ? 1000 : ms));
      },
    });
    const measured = await inTurns([competitor("a", 5), competitor("b", 7)], {
      rounds: 2,
      times: 3,
      onRound: (done: number, total: number) => events.push(`${done}/${total}`),
      onMeasured: (name: string, { median, all }: { median: number; all: number[] }) =>
        events.push(`${name}: ${median} of ${all.length}`),
    });
    expect(events).toEqual([
      ...["run a", "1/4", "run b", "2/4"],
      ...["run a", "3/4", "a: 5 of 6", "run b", "4/4", "b: 7 of 6"],
    ]);
    expect(measured.get("b")?.median).toBe(7);
    expect(turnsSeconds(500, { rounds: 2, times: 3, competitors: 2 })).toBe(8);
  });

  it("writes durations in the unit that fits", () => {
    expect([0.2, 1, 89, 90, 360, 5399, 5400, 9000].map(duration)).toEqual([
      ...["1 s", "1 s", "89 s", "2 min", "6 min", "90 min", "1.5 h", "2.5 h"],
    ]);
  });
});

describe("the processor", () => {
  interface Processor {
    vendor: string;
    model: string;
    features: string[];
  }
  it("is what the addon says, and stands in one line", async () => {
    const { processor, processorLine } = (await load("processor")) as {
      processor(info: object): Processor;
      processorLine(threads: number, processor: Processor): string;
    };
    const cpu = { vendor: "amd", model: "EPYC", features: ["avx2", "fma"] };
    expect(processor({ cpu })).toEqual(cpu);
    expect(processorLine(2, cpu)).toBe("EPYC (amd), 2 threads; features: avx2 fma");
    expect(processorLine(1, { vendor: "arm", model: "M1", features: [] })).toBe(
      "M1 (arm), 1 threads; features: none known",
    );
  });
});
