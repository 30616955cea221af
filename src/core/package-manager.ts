/** Which package manager installed this package, for commands in messages. */
import { existsSync } from "node:fs";
import { dirname, join, sep } from "node:path";

export type PackageManager = "npm" | "pnpm" | "yarn";

/** In this order: where the package lies, who runs this process, whose files the project has. */
export function packageManager(
  root: string,
  {
    env = process.env,
    folder = process.cwd(),
    pnp = process.versions.pnp !== undefined,
  }: { readonly env?: NodeJS.ProcessEnv; readonly folder?: string; readonly pnp?: boolean } = {},
): PackageManager {
  if (pnp) return "yarn";
  if (root.includes(`${sep}node_modules${sep}.pnpm${sep}`)) return "pnpm";
  const [running] = /^(npm|pnpm|yarn)(?=\/)/.exec(env.npm_config_user_agent ?? "") ?? [];
  if (running) return running as PackageManager;
  for (let at = folder; ; at = dirname(at)) {
    if (existsSync(join(at, "pnpm-lock.yaml"))) return "pnpm";
    if (existsSync(join(at, "yarn.lock"))) return "yarn";
    if (existsSync(join(at, "package-lock.json")) || at === dirname(at)) return "npm";
  }
}

/** The command that adds a package to the project. */
export function installCommand(root: string, name: string): string {
  const manager = packageManager(root);
  return `${manager} ${manager === "npm" ? "install" : "add"} ${name}`;
}
