export type Variant = "cpu" | "cuda";
type Env = NodeJS.ProcessEnv;

export const VARIANTS: readonly Variant[];
export const VERSIONS: Readonly<Record<Variant, string>>;

export interface LibTorch {
  readonly folder: string;
  readonly version: string | undefined;
  readonly include: boolean;
  readonly cuda: boolean;
  readonly linked: boolean;
}

export interface FoundLibTorch extends LibTorch {
  readonly path: string;
  readonly source: "LIBTORCH" | "SOUNDSPOT_HOME" | "vendor" | "cache";
}

export interface ChosenAddon {
  readonly variant: Variant;
  /** Why this variant. */
  readonly reason: string;
  readonly addon: string | undefined;
  /** The LibTorch that it is compiled for. */
  readonly version: string;
}

export function librariesOf(variant: Variant, platform?: NodeJS.Platform): string[];
export function variantOf(env?: Env): Variant | undefined;
export function homeFolder(env?: Env): string;
export function installPlace(options: {
  readonly root: string;
  readonly variant: Variant;
  readonly version?: string;
  readonly env?: Env;
}): { readonly base: string; readonly folder: string };
export function findLibTorch(options: {
  readonly root: string;
  readonly variant?: Variant;
  readonly version?: string;
  readonly include?: boolean;
  readonly any?: boolean;
  readonly env?: Env;
}): FoundLibTorch | undefined;
export function isVersion(version: string, wanted: string): boolean;
export function describeLibTorch(folder: string, variant?: Variant): LibTorch | undefined;
export function missingFrom(folder: string, variant: Variant, include: boolean): string[];
export function versionOf(folder: string): string | undefined;
export function buildFolders(root: string, variant: Variant, env?: Env): string[];
export function findAddons(options: {
  readonly root: string;
  readonly variant?: Variant;
  readonly env?: Env;
}): string[];
export function recordOf(addon: string): { readonly variant: Variant; readonly version: string };
export function isPrebuilt(root: string, addon: string): boolean;
export function chooseAddon(options: {
  readonly root: string;
  readonly env?: Env;
  readonly driver?: () => boolean;
}): ChosenAddon;
export function hasDriver(): boolean;
