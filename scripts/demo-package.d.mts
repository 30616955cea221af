import type { Figures } from "./demo-floors.mjs";

type Manifest = Readonly<Record<string, unknown>>;

/** What the writer needs of the package's Model. */
interface SavedModel {
  readonly config: unknown;
  save(path: string, options: { readonly metadata: Record<string, string> }): Promise<void>;
  parameters(): Promise<readonly { readonly trainable: boolean; readonly data: ArrayLike<number> }[]>;
}

export interface DrawnScene {
  readonly image: { readonly data: Uint8Array; readonly width: number; readonly height: number };
  readonly audio: { readonly samples: Float32Array; readonly sampleRate: number };
  readonly mask: { readonly data: Uint8Array };
}

export interface DemoTraining {
  readonly preset: string;
  readonly seed: number;
  readonly scenes: number;
  readonly heldOut: number;
  readonly twoObjects: number;
}

export const DEMO_MODEL: string;
export const DEMO_KEY: string;
export const MOST_BYTES: number;
export function demoManifest(manifest: Manifest, addresses?: Manifest): Record<string, unknown>;
export function writeScene(
  folder: string,
  scene: DrawnScene,
  encodeWav: (audio: DrawnScene["audio"]) => Uint8Array,
): Promise<{ readonly image: string; readonly audio: string }>;
export function writeDemoModel(options: {
  readonly folder: string;
  readonly model: SavedModel;
  readonly scene: {
    readonly index: number;
    readonly label: string;
    readonly iou?: number;
    readonly confidence?: number;
  };
  readonly training?: DemoTraining;
  readonly figures?: Figures;
}): Promise<void>;
export function bytesIn(folder: string): number;
export function copyDemoModel(
  from: string,
  to: string,
  options: { readonly manifest: Manifest; readonly addresses: Manifest; readonly complete: boolean },
): void;
