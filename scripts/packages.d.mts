import type { PlatformPackage } from "./platform.mjs";

type Manifest = Readonly<Record<string, unknown>>;

export const PLACEHOLDER: string;
export function mainManifest(
  manifest: Manifest,
  options: { readonly repository?: string | undefined; readonly optional: readonly string[] },
): Record<string, unknown>;
export function platformManifest(
  manifest: Manifest,
  platform: PlatformPackage,
  options: { readonly repository?: string | undefined },
): Record<string, unknown>;
export function prebuildsOfBuild(prebuilds: string): string;
export function writePackages(options: {
  readonly output: string;
  readonly prebuilds?: string;
  readonly demo?: string;
  readonly repository?: string | undefined;
  readonly complete?: boolean;
}): { readonly name: string; readonly folder: string }[];
