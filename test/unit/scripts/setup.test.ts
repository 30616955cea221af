/** Getting LibTorch from a server: complete or not at all, by one of several at once, after any interruption. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { hostname, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { librariesOf, VERSIONS } from "../../../scripts/locate.mjs";
import { zip } from "../../support/archives.mjs";
import { startProxy } from "../../support/forward-proxy.js";

const scripts = fileURLToPath(new URL("../../../scripts", import.meta.url));
const [name] = [`cpu-${VERSIONS.cpu}`];

const content = zip([
  ["libtorch/build-version", Buffer.from(`${VERSIONS.cpu}+cpu\n`)],
  ...librariesOf("cpu").map((each, i) => [`libtorch/lib/${each}`, Buffer.alloc(4e5, i)] as const),
  ["libtorch/lib/libtorch_python.so", Buffer.alloc(10)],
  ["libtorch/include/ATen/ATen.h", Buffer.from("// ATen")],
]);
const sum = createHash("sha256").update(content).digest("hex");

let folder: string;
let home: string;
let server: Server;
let url: string;
let requests: number;
/** How to answer a request; by default with the whole archive. */
let answer: (response: ServerResponse) => void;
const whole = (response: ServerResponse) => response.end(content);
const part = (bytes: number) => (response: ServerResponse) => void response.write(content.subarray(0, bytes));

beforeEach(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "soundspot-setup-")));
  home = join(folder, "home");
  const root = join(folder, "package");
  mkdirSync(join(root, "scripts"), { recursive: true });
  writeFileSync(join(root, "package.json"), '{ "name": "soundspot", "version": "1.2.3" }');
  for (const each of readdirSync(scripts).filter((file) => file.endsWith(".mjs"))) {
    copyFileSync(join(scripts, each), join(root, "scripts", each));
  }
  symlinkSync(join(scripts, "../node_modules"), join(root, "node_modules"), "junction");
  // No other source: without pip, the server's failure is that of the installation.
  for (const python of ["python3", "python", "py"]) {
    writeFileSync(join(folder, python), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
  }
  requests = 0;
  answer = whole;
  server = createServer((_, response) => {
    requests++;
    response.setHeader("content-length", content.length);
    answer(response);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/libtorch%2Bcpu.zip`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
}

/** Runs libtorch.mjs of the copy; `onOutput` gets all of its output so far. */
function get(
  more: Record<string, string> = {},
  onOutput: (output: string, pid: number) => void = () => undefined,
) {
  const { LIBTORCH, LIBTORCH_SHA256, SOUNDSPOT_VARIANT, ...env } = process.env;
  const child = spawn(process.execPath, [join(folder, "package/scripts/libtorch.mjs")], {
    env: {
      ...env,
      PATH: `${folder}${delimiter}${env.PATH}`,
      SOUNDSPOT_HOME: home,
      SOUNDSPOT_PROGRESS: "0",
      LIBTORCH_URL: url,
      ...more,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      onOutput(output, child.pid as number);
    });
  }
  const ended = new Promise<Outcome>((done) => {
    child.on("close", (code, signal) => done({ code, signal, output }));
  });
  return { child, ended };
}

function expectInstalled() {
  expect(readdirSync(home)).toEqual([name]);
  const libtorch = join(home, name as string, "libtorch");
  expect(readFileSync(join(libtorch, "archive-sha256"), "utf8")).toBe(`${sum}  libtorch+cpu.zip\n`);
  for (const each of librariesOf("cpu")) expect(statSync(join(libtorch, "lib", each)).size).toBe(4e5);
  expect(existsSync(join(libtorch, "lib/libtorch_python.so"))).toBe(false);
  expect(readFileSync(join(libtorch, "include/ATen/ATen.h"), "utf8")).toBe("// ATen");
}

/** Resolves once a condition holds. */
async function until(condition: () => boolean) {
  while (!condition()) await new Promise((done) => setTimeout(done, 20));
}

const inHome = () => (existsSync(home) ? readdirSync(home) : []);
/** Whether a part of the archive has arrived. */
const hasPart = () =>
  inHome().some(
    (each) => each.startsWith("partial-") && readdirSync(join(home, each)).includes("libtorch+cpu.zip"),
  );

// The names in the archive, and the programs that stand for Python, are those of Linux.
describe.skipIf(process.platform !== "linux")("getting LibTorch from a server", () => {
  it("leaves it in a folder of its version and variant, once", async () => {
    const first = await get({ LIBTORCH_SHA256: sum }).ended;
    expect(first.code, first.output).toBe(0);
    expectInstalled();
    const second = await get().ended;
    expect(second.output).toBe(`LibTorch ${VERSIONS.cpu}+cpu: ${join(home, name as string, "libtorch")}\n`);
    expect(requests).toBe(1);
  });

  it("gets it through the proxy of npm's settings, which alone knows the host", async () => {
    const proxy = await startProxy({ "files.invalid": Number(new URL(url).port) });
    try {
      const address = "http://files.invalid/libtorch%2Bcpu.zip";
      const { code, output } = await get({ LIBTORCH_URL: address, npm_config_proxy: proxy.url }).ended;
      expect(code, output).toBe(0);
      expectInstalled();
      expect(proxy.log).toEqual(["CONNECT files.invalid:80"]);
      rmSync(home, { recursive: true });
      const without = await get({
        LIBTORCH_URL: address,
        npm_config_proxy: proxy.url,
        NO_PROXY: "files.invalid",
      }).ended;
      expect(without.code).toBe(1);
      expect(without.output).toMatch(/LIBTORCH_URL: getaddrinfo .*files\.invalid/);
    } finally {
      await proxy.close();
    }
  });

  it("rejects another content than that of the checksum, and leaves nothing", async () => {
    const wrong = sum.replace(/^./, (digit) => (digit === "0" ? "1" : "0"));
    const { code, output } = await get({ LIBTORCH_SHA256: wrong }).ended;
    expect(code).toBe(1);
    expect(output).toContain(`has SHA-256 ${sum}, expected ${wrong}`);
    expect(inHome()).toEqual([]);
    expect((await get().ended).code).toBe(0);
    expectInstalled();
  });

  it("downloads once where several start at once, and gives all the same", async () => {
    let waiting: ServerResponse | undefined;
    answer = (response) => {
      part(1000)(response);
      waiting = response;
    };
    const outputs: string[] = ["", "", ""];
    const all = outputs.map((_, i) =>
      get({}, (output) => {
        outputs[i] = output;
      }),
    );
    await until(
      () =>
        waiting !== undefined && outputs.filter((output) => output.includes("waiting for it")).length === 2,
    );
    waiting?.end(content.subarray(1000));
    const outcomes = await Promise.all(all.map(({ ended }) => ended));
    expect(outcomes.map(({ code }) => code)).toEqual([0, 0, 0]);
    const last = outcomes.map(({ output }) => output.trimEnd().split("\n").at(-1));
    expect(new Set(last)).toEqual(
      new Set([`LibTorch ${VERSIONS.cpu}+cpu: ${join(home, name as string, "libtorch")}`]),
    );
    expect(requests).toBe(1);
    expectInstalled();
  });

  it.each([1, Math.floor(content.length / 3), content.length - 1])(
    "continues after one that was killed when %d bytes had arrived",
    async (bytes) => {
      for (const signal of ["SIGKILL", "SIGTERM", "SIGINT"] as const) {
        answer = part(bytes);
        const { child, ended } = get();
        await until(hasPart);
        child.kill(signal);
        expect((await ended).signal).toBe(signal);
        // A process that is asked to end removes what it has begun.
        if (signal === "SIGKILL") expect(hasPart()).toBe(true);
        else expect(inHome()).toEqual([]);
        answer = whole;
        const next = await get().ended;
        expect(next.code, next.output).toBe(0);
        expectInstalled();
        rmSync(home, { recursive: true });
      }
    },
  );

  it("fails where the connection ends early, and leaves nothing", async () => {
    answer = (response) => {
      response.write(content.subarray(0, 5000), () => response.destroy());
    };
    const { code, output } = await get().ended;
    expect(code, output).toBe(1);
    expect(output).toContain("could not be obtained");
    expect(inHome()).toEqual([]);
  });

  it("takes over the lock of a process that is gone, or that nobody has touched for long", async () => {
    mkdirSync(home);
    const lock = join(home, "setup.lock");
    const gone = spawn(process.execPath, ["-e", ""]);
    await new Promise((done) => gone.on("close", done));
    for (const [pid, host, age] of [
      [gone.pid, hostname(), 0],
      [process.pid, "another-host", 3600],
      [process.pid, hostname(), 3600],
    ] as const) {
      writeFileSync(lock, JSON.stringify({ id: "a", pid, host }));
      const then = new Date(Date.now() - 1000 * age);
      utimesSync(lock, then, then);
      const { code, output } = await get().ended;
      expect(code, output).toBe(0);
      expectInstalled();
      rmSync(join(home, name as string), { recursive: true });
    }
  });

  it("says what is missing where LIBTORCH has none, and links one that is complete", async () => {
    const own = join(folder, "own");
    mkdirSync(join(own, "lib"), { recursive: true });
    const rejected = await get({ LIBTORCH: own }).ended;
    expect(rejected.code).toBe(1);
    expect(rejected.output).toContain(`LIBTORCH is ${own}, which lacks lib/libc10.so`);
    for (const each of librariesOf("cpu")) writeFileSync(join(own, "lib", each), "");
    mkdirSync(join(own, "include/ATen"), { recursive: true });
    writeFileSync(join(own, "include/ATen/ATen.h"), "");
    writeFileSync(join(own, "build-version"), "2.11.0+cpu\n");
    const { code, output } = await get({ LIBTORCH: own }).ended;
    expect(code, output).toBe(0);
    expect(realpathSync(join(home, "cpu-2.11.0/libtorch"))).toBe(own);
    const cuda = await get({ LIBTORCH: own, SOUNDSPOT_VARIANT: "cuda" }).ended;
    expect(cuda.output).toMatch(/lacks lib\/libc10_cuda\.so.*of a LibTorch with CUDA/);
    expect(requests).toBe(0);
  });
});

describe("the wheels of the variant cuda", () => {
  it("are those that torch requires of NVIDIA, without conditions and extras", async () => {
    const { nvidiaRequirements } = (await import(pathToFileURL(join(scripts, "libtorch.mjs")).href)) as {
      nvidiaRequirements(metadata: string): string[];
    };
    const metadata = [
      "Name: torch",
      "Requires-Dist: sympy>=1.13.3",
      'Requires-Dist: cuda-toolkit[cublas,cudart]==13.0.3; platform_system == "Linux"',
      'Requires-Dist: cuda-bindings<14,>=13.0.3; platform_system == "Linux"',
      'Requires-Dist: nvidia-nccl-cu13==2.30.7; platform_system == "Linux"',
      'Requires-Dist: nvidia-nothing; extra == "more"',
      "Requires-Dist: triton~=3.8.0",
    ].join("\r\n");
    expect(nvidiaRequirements(metadata)).toEqual([
      "cuda-toolkit[cublas,cudart]==13.0.3",
      "nvidia-nccl-cu13==2.30.7",
    ]);
    expect(nvidiaRequirements("Name: torch\n")).toEqual([]);
  });

  it.skipIf(process.platform !== "linux")(
    "lie as the run paths of LibTorch's libraries need them",
    async () => {
      const wheel = (top: string, entries: readonly (readonly [string, Uint8Array])[]) => {
        writeFileSync(join(folder, top), zip(entries));
        return join(folder, top);
      };
      const metadata = 'Requires-Dist: nvidia-nccl-cu13==2.30.7; platform_system == "Linux"\n';
      const torch = wheel(`torch-${VERSIONS.cuda}-cp311-cp311-linux_x86_64.whl`, [
        [`torch-${VERSIONS.cuda}.dist-info/METADATA`, Buffer.from(metadata)],
        ...librariesOf("cuda").map((each) => [`torch/lib/${each}`, Buffer.alloc(10)] as const),
        ["torch/include/ATen/ATen.h", Buffer.from("// ATen")],
      ]);
      const nccl = wheel("nvidia_nccl_cu13-2.30.7-py3-none-linux_x86_64.whl", [
        ["nvidia/nccl/lib/libnccl.so.2", Buffer.from("nccl")],
        ["nvidia/nccl/lib/libnccl_static.a", Buffer.from("static")],
        ["nvidia/nccl/include/nccl.h", Buffer.from("// nccl")],
        ["nvidia/nccl/__init__.py", Buffer.from("")],
      ]);
      writeFileSync(
        join(folder, "python3"),
        `#!/bin/sh
case "$*" in
  *--version*) exit 0 ;;
  *nvidia-nccl-cu13==2.30.7*) wheel='${nccl}' ;;
  *--no-deps*torch==${VERSIONS.cuda}*) wheel='${torch}' ;;
  *) exit 1 ;;
esac
echo "$HTTPS_PROXY $https_proxy" > '${join(folder, "proxies")}'
while [ "$1" != "--dest" ]; do shift; done
mkdir -p "$2" && cp "$wheel" "$2"
`,
      );
      const settings = { npm_config_https_proxy: "http://proxy.example:1", npm_config_noproxy: "" };
      const { code, output } = await get({ SOUNDSPOT_VARIANT: "cuda", LIBTORCH_URL: "", ...settings }).ended;
      expect(code, output).toBe(0);
      const proxy = "http://proxy.example:1/";
      expect(readFileSync(join(folder, "proxies"), "utf8"), "pip's").toBe(`${proxy} ${proxy}\n`);
      const place = join(home, `cuda-${VERSIONS.cuda}`);
      expect(readdirSync(home)).toEqual([`cuda-${VERSIONS.cuda}`]);
      expect(readdirSync(place)).toEqual(["libtorch", "nvidia"]);
      expect(readdirSync(join(place, "libtorch/lib"))).toEqual([...librariesOf("cuda")].sort());
      expect(readFileSync(join(place, "libtorch/build-version"), "utf8")).toBe(`${VERSIONS.cuda}\n`);
      expect(readdirSync(join(place, "nvidia/nccl/lib"))).toEqual(["libnccl.so.2"]);
      expect(readFileSync(join(place, "nvidia/nccl/include/nccl.h"), "utf8")).toBe("// nccl");
      expect(readFileSync(join(place, "libtorch/archive-sha256"), "utf8").split("\n")).toHaveLength(3);
    },
  );
});

// npm is that beside Node.js; neither CMake nor a compiler is on the PATH.
describe.skipIf(process.platform !== "linux" || process.arch !== "x64")("an addon that is not there", () => {
  it.each(["cpu", "cuda"] as const)(
    "is asked of npm for %s by a published package alone",
    async (variant) => {
      const asked: string[] = [];
      const registry = createServer((request, response) => {
        asked.push(decodeURIComponent(request.url ?? ""));
        response.writeHead(404).end("{}");
      });
      await new Promise<void>((done) => registry.listen(0, "127.0.0.1", done));
      const outcome = async (optionalDependencies: object) => {
        const manifest = { name: "soundspot", version: "1.2.3", optionalDependencies };
        writeFileSync(join(folder, "package/package.json"), JSON.stringify(manifest));
        mkdirSync(join(folder, "package/native"), { recursive: true });
        const program = `
        const { setup } = await import(${JSON.stringify(pathToFileURL(join(folder, "package/scripts/setup.mjs")).href)});
        const options = { variant: "${variant}", log: console.log, progress: { start() {} } };
        await setup(options).catch(({ message }) => console.log(message));`;
        const { LIBTORCH, SOUNDSPOT_VARIANT, CXX, ...env } = process.env;
        const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
          cwd: folder,
          env: {
            ...env,
            PATH: folder,
            SOUNDSPOT_HOME: home,
            npm_config_registry: `http://127.0.0.1:${(registry.address() as AddressInfo).port}/`,
            npm_config_fetch_retries: "0",
          },
          stdio: ["ignore", "pipe", "inherit"],
        });
        let output = "";
        child.stdout.setEncoding("utf8").on("data", (text: string) => {
          output += text;
        });
        await new Promise((done) => child.on("close", done));
        return output.trim().split("\n");
      };
      try {
        const tools = expect.stringMatching(/^Compiling the addon needs CMake .* and a C\+\+20 compiler/);
        expect(await outcome({ "ffmpeg-static": "1" })).toEqual([tools]);
        expect(asked).toEqual([]);
        const package_ = variant === "cpu" ? "@soundspot/linux-x64" : "@soundspot/linux-x64-cuda";
        expect(await outcome({ "@soundspot/linux-x64": "1.2.3" })).toEqual([
          expect.stringMatching(new RegExp(`^${package_} could not be obtained: .*404`)),
          tools,
        ]);
        expect(asked).toEqual([`/${package_}`]);
        expect(requests, "LibTorch, which a compiler alone would need").toBe(0);
      } finally {
        registry.closeAllConnections();
        registry.close();
      }
    },
  );
});

// A shell script stands for CMake.
describe.skipIf(process.platform === "win32")("two builds at once in one folder", () => {
  it("run one after the other", async () => {
    const running = join(folder, "running");
    writeFileSync(
      join(folder, "cmake"),
      `#!/bin/sh
case "$*" in
  *--version*) echo "cmake version 3.30.0" ;;
  *capabilities*) echo '{"generators":[{"name":"Ninja"},{"name":"Unix Makefiles"}]}' ;;
  *--build*) mkdir '${running}' || exit 1; sleep 0.3; rmdir '${running}'; echo built >> '${folder}/built' ;;
esac
`,
      { mode: 0o755 },
    );
    const program = `
      const { compile } = await import(${JSON.stringify(pathToFileURL(join(scripts, "build.mjs")).href)});
      await compile({ quiet: true, build: ${JSON.stringify(join(folder, "build"))} });
    `;
    const codes = await Promise.all(
      [1, 2, 3].map(
        () =>
          new Promise((done) => {
            const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
              env: { ...process.env, PATH: `${folder}${delimiter}${process.env.PATH}`, SOUNDSPOT_HOME: home },
              stdio: "ignore",
            });
            onTestFinished(() => void child.kill("SIGKILL"));
            child.on("close", done);
          }),
      ),
    );
    expect(codes).toEqual([0, 0, 0]);
    expect(readFileSync(join(folder, "built"), "utf8")).toBe("built\nbuilt\nbuilt\n");
    expect(existsSync(join(folder, "build.lock"))).toBe(false);
  });
});
