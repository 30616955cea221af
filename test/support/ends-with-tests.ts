/**
 * What tests start ends with them, also when they are killed: a service that goes on would hold its port. A setup file
 * of every test. Every Node.js process that a test starts gets `endWithTests` in its environment, where the test does
 * not give it another one; programs of other kinds are started through `bound`.
 */
import { spawnSync } from "node:child_process";

/** Id of the process that runs the tests of a file. */
const VARIABLE = "SOUNDSPOT_TESTS";

/** Run before the program of each process. A process of another user cannot be signalled, but is there (EPERM). */
const watch = `
import { isMainThread } from "node:worker_threads";
const tests = Number(process.env.${VARIABLE});
const look = () => {
  try {
    process.kill(tests, 0);
  } catch ({ code }) {
    if (code === "ESRCH") process.kill(process.pid, "SIGKILL");
  }
};
if (isMainThread && tests > 0) setInterval(look, 200).unref();`;

/** Environment of a Node.js process that ends with the tests, and with which its own processes do. */
export const endWithTests = {
  NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(watch)}`,
  [VARIABLE]: String(process.pid),
} as const;

const setpriv = process.platform === "linux" && spawnSync("setpriv", ["--version"]).status === 0;

/** A program that is not Node.js, and its arguments, so that it ends with the tests: on Linux, by the kernel. */
export function bound(program: string, args: readonly string[]): [program: string, args: string[]] {
  return setpriv ? ["setpriv", ["--pdeathsig", "KILL", program, ...args]] : [program, [...args]];
}

if (!process.env.NODE_OPTIONS?.includes(endWithTests.NODE_OPTIONS)) {
  const given = process.env.NODE_OPTIONS;
  Object.assign(process.env, endWithTests);
  if (given) process.env.NODE_OPTIONS = `${given} ${endWithTests.NODE_OPTIONS}`;
  // Vitest, which has started this process.
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) process.kill(process.pid, "SIGKILL");
  }, 200).unref();
}
