// The installed baselines: PyTorch in a Python of the user's, onnxruntime-node in a folder of the user's.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const script = (name) => fileURLToPath(new URL(`../baselines/${name}`, import.meta.url));
const executable = () => process.env.BENCH_PYTHON ?? "python3";

/** baselines/worker.py in its own process, or undefined without a Python with torch, or without one for the device. */
export async function python(threads, device = "cpu") {
  const child = spawn(executable(), [script("worker.py"), String(threads), device], {
    stdio: ["pipe", "pipe", process.env.BENCH_VERBOSE ? "inherit" : "ignore"],
  });
  child.on("error", () => undefined);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const hello = await lines.next();
  if (hello.done) return undefined;
  const { torch, exports } = JSON.parse(hello.value);
  return {
    version: torch,
    /** Types of the ONNX models that it can write. */
    exports,
    async ask(request) {
      child.stdin.write(`${JSON.stringify(request)}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error("The Python baseline ended. BENCH_VERBOSE=1 shows its output.");
      const answer = JSON.parse(value);
      if (answer.error) throw new Error(`The Python baseline: ${answer.error}`);
      return answer;
    },
    /** A competitor for inTurns. */
    async competitor(name, request) {
      await this.ask({ make: name, ...request });
      const entry = {
        name,
        peak: 0,
        run: async (times) => {
          const { ms, peak } = await this.ask({ run: name, times });
          entry.peak = peak;
          return ms;
        },
      };
      return entry;
    },
    close() {
      child.stdin.end();
    },
  };
}

/** Milliseconds of baselines/startup.py, or undefined without a Python with torch. */
export async function pythonStartup(weights) {
  const started = performance.now();
  const child = spawn(executable(), [script("startup.py"), weights], { stdio: "ignore" });
  const [code] = await once(child, "close").catch(() => [1]);
  return code === 0 ? performance.now() - started : undefined;
}

/** onnxruntime-node, or undefined. */
export function onnxruntime() {
  const from = process.env.BENCH_BASELINES ?? process.cwd();
  try {
    return createRequire(join(from, "package.json"))("onnxruntime-node");
  } catch {
    return undefined;
  }
}
