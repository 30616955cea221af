import type { Variant } from "./locate.mjs";

export interface PlatformPackage {
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  readonly variant: Variant;
  readonly libc?: string;
  /** In prebuilds/. */
  readonly folder: string;
  /** Of the package. */
  readonly name: string;
}

export const SCOPE: string;
export const ADDON_FILE: string;
export const PLATFORMS: readonly PlatformPackage[];
export function addonIn(folder: string, name: string): string;
export function packageOf(variant: Variant, platform?: string, arch?: string): string | undefined;
export function packagedAddon(root: string, variant: Variant): string | undefined;
export function isOfPlatformPackage(addon: string): boolean;
export function publishedVersion(root: string): string | undefined;
